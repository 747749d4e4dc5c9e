package main

import (
	"fmt"
	"io"
	"net/netip"
	"os"
	"runtime"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"tandem/internal/config"
	"tandem/relay/netio"
)

// portsPerSession is how many sockets a session holds at most: RTP and RTCP on either side.
const portsPerSession = 4

// probe opens every engine on the configured addresses, tells what each would do on this machine, and closes it again.
func probe(w io.Writer, cfg *config.Config, known []engine) error {
	files, err := netio.RaiseFileLimit()
	if err != nil {
		return err
	}
	addresses := mediaAddresses(cfg)
	fmt.Fprintf(w, "machine    Linux %s, %d processors; workers %d\n", kernelRelease(), runtime.NumCPU(), cfg.Media.Workers)
	fmt.Fprintf(w, "addresses  %s\n", strings.Join(addresses, ", "))
	fmt.Fprintf(w, "files      %d may be open: room for %d sessions of the sockets engine with RTP and RTCP on ports of their own\n",
		files, files/portsPerSession)
	if reserved, err := os.ReadFile("/proc/sys/net/ipv4/ip_local_reserved_ports"); err == nil && strings.TrimSpace(string(reserved)) == "" {
		fmt.Fprintln(w, "ports      net.ipv4.ip_local_reserved_ports is empty: other programs may take media ports, which are then not leased")
	}
	o := engineOptions(cfg)
	findings, err := netio.Examine(o)
	if err != nil {
		return err
	}
	for _, f := range findings {
		fmt.Fprintf(w, "device     %s\n", f)
	}
	chosen := ""
	for _, e := range known {
		works, err := try(w, cfg, e)
		if err != nil {
			return err
		}
		if works && chosen == "" {
			chosen = e.name
		}
	}
	if chosen == "" {
		return fmt.Errorf("auto finds no engine that works here with the addresses %s", strings.Join(addresses, ", "))
	}
	fmt.Fprintf(w, "auto       takes %s\n", chosen)
	if cfg.Media.Engine != config.EngineAuto {
		chosen = cfg.Media.Engine
	}
	if chosen == config.EngineSockets && files/portsPerSession < uint64(cfg.Media.Sessions) {
		fmt.Fprintf(w, "advice     media.sessions is %d, which sockets has no files for: raise LimitNOFILE to %d\n",
			cfg.Media.Sessions, cfg.Media.Sessions*portsPerSession)
	}
	return nil
}

// try opens an engine as auto would, and if that fails as one that is asked for by name, and tells what came of it. It returns whether
// auto could take it.
func try(w io.Writer, cfg *config.Config, e engine) (bool, error) {
	o := engineOptions(cfg)
	o.XDP.Native = true
	opened, refusal := e.open(o)
	if refusal != nil {
		var err error
		if opened, err = e.open(engineOptions(cfg)); err != nil {
			fmt.Fprintf(w, "%-10s no: %s\n", e.name, oneLine(err))
			return false, nil
		}
	}
	fmt.Fprintf(w, "%-10s works%s%s\n", e.name, bufferOf(opened), pathsOf(opened))
	if refusal != nil {
		fmt.Fprintf(w, "%-10s but auto leaves it: %s\n", "", oneLine(refusal))
	}
	if err := opened.Close(); err != nil {
		return false, fmt.Errorf("close engine %s: %w", e.name, err)
	}
	return refusal == nil, nil
}

// engineOptions are what the relay itself would open an engine with.
func engineOptions(cfg *config.Config) netio.Options {
	o := netio.Options{Workers: cfg.Media.Workers, RcvBuf: cfg.Media.Buffer, Poll: cfg.Media.Poll}
	for _, text := range mediaAddresses(cfg) {
		o.Addresses = append(o.Addresses, netip.MustParseAddr(text))
	}
	return o
}

// mediaAddresses returns every address of every network once.
func mediaAddresses(cfg *config.Config) []string {
	var all []string
	for _, n := range cfg.Media.Networks {
		for _, a := range n.Addresses {
			all = append(all, a.String())
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// bufferOf tells how large the engine's receive buffers turned out.
func bufferOf(e netio.Engine) string {
	if b, ok := e.(interface{ RcvBuf() int }); ok && b.RcvBuf() > 0 {
		return fmt.Sprintf(", receive buffer %d bytes", b.RcvBuf())
	}
	return ""
}

// pathsOf tells how packets get from the devices, if the engine has several ways.
func pathsOf(e netio.Engine) string {
	if p, ok := e.(interface{ Paths() []string }); ok {
		return "; " + strings.Join(p.Paths(), "; ")
	}
	return ""
}

func kernelRelease() string {
	var u unix.Utsname
	if unix.Uname(&u) != nil {
		return "of unknown release"
	}
	return unix.ByteSliceToString(u.Release[:])
}
