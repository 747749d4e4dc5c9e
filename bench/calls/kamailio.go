package calls

import (
	"bytes"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"text/template"
	"time"

	"golang.org/x/sys/unix"

	"tandem/bench/rig"
	"tandem/bench/rival"
)

//go:embed kamailio.cfg
var kamailioConfig string

var kamailioTemplate = template.Must(template.New("kamailio.cfg").Parse(kamailioConfig))

const (
	children  = 4   // workers on one CPU: while one waits for rtpengine, another works
	sharedMB  = 512 // of Kamailio's memory for transactions; never the limit
	privateMB = 32
	engineAt  = "127.0.0.1:2223" // as bench/rival tells rtpengine
	quitLimit = 3 * time.Second  // from SIGTERM to Kamailio's end

	// passing is what rtpengine is to do with an SDP: the same as Tandem does, nothing of ICE, one direction.
	passing = "replace-origin replace-session-connection ICE=remove RTP/AVP trust-address direction=bench direction=bench"
)

// modulePaths are where distributions keep Kamailio's modules.
var modulePaths = []string{
	"/usr/lib/x86_64-linux-gnu/kamailio/modules", "/usr/lib/aarch64-linux-gnu/kamailio/modules",
	"/usr/lib64/kamailio/modules", "/usr/local/lib64/kamailio/modules", "/usr/lib/kamailio/modules",
}

// Kamailio is a stateful Kamailio, with the tlsf allocator, and rtpengine in userspace.
type Kamailio struct {
	version string
	modules string
	dir     string
	parts   []Part
	ng      *rival.NG
}

// Find returns the rival of that name, "kamailio+rtpengine", if the machine has its programs.
func Find(spec string) (*Kamailio, error) {
	if spec != "kamailio+rtpengine" {
		return nil, fmt.Errorf("rival %q is not known: kamailio+rtpengine", spec)
	}
	for program, in := range map[string]string{"kamailio": "kamailio", "rtpengine": "rtpengine-daemon", "unshare": "util-linux"} {
		if _, err := exec.LookPath(program); err != nil {
			return nil, fmt.Errorf("rival %s: %w: install it with apt-get install %s", spec, err, in)
		}
	}
	for _, path := range modulePaths {
		if info, err := os.Stat(filepath.Join(path, "rtpengine.so")); err == nil && !info.IsDir() {
			return &Kamailio{modules: path}, nil
		}
	}
	return nil, fmt.Errorf("rival %s: no rtpengine.so in any of %s: install the kamailio package", spec, strings.Join(modulePaths, ", "))
}

// Name implements Gateway.
func (k *Kamailio) Name() string { return "kamailio+rtpengine" }

// Version implements Gateway.
func (k *Kamailio) Version() string { return k.version }

// Parts implements Gateway.
func (k *Kamailio) Parts() []Part { return k.parts }

// Start implements Gateway.
func (k *Kamailio) Start(ctx context.Context, s Scene) (err error) {
	defer func() {
		if err != nil {
			err = errors.Join(err, k.Stop())
		}
	}()
	if err := k.ask(ctx); err != nil {
		return err
	}
	if k.dir, err = os.MkdirTemp("", "tandem-bench-"); err != nil {
		return err
	}
	path := filepath.Join(k.dir, "kamailio.cfg")
	if err := k.configure(path, s); err != nil {
		return err
	}
	if err := k.start(ctx, s.Place, "rtpengine", "rtpengine", rival.Arguments(s.Place.RelayAddresses())...); err != nil {
		return err
	}
	if err := k.connect(ctx, s.Place); err != nil {
		return err
	}
	// In a PID namespace of its own, whose init it is: whatever becomes of us, its workers go with it.
	err = k.start(ctx, s.Place, "kamailio", "unshare", "--pid", "--fork", "--kill-child=SIGKILL", "--",
		"kamailio", "-f", path, "-DD", "-E", "-x", "tlsf", "-X", "tlsf",
		"-m", fmt.Sprint(sharedMB), "-M", fmt.Sprint(privateMB), "-Y", k.dir)
	if err != nil {
		return err
	}
	return k.await(ctx, s)
}

// ask reads the versions.
func (k *Kamailio) ask(ctx context.Context) error {
	if k.version != "" {
		return nil
	}
	first, err := exec.CommandContext(ctx, "kamailio", "-v").CombinedOutput()
	if err != nil {
		return fmt.Errorf("kamailio -v: %w\n%s", err, first)
	}
	second, err := exec.CommandContext(ctx, "rtpengine", "--version").CombinedOutput()
	if err != nil {
		return fmt.Errorf("rtpengine --version: %w\n%s", err, second)
	}
	name := "kamailio"
	if words := strings.Fields(string(first)); len(words) > 2 { // version: kamailio 5.6.3 (x86_64/linux) ...
		name += " " + words[2]
	}
	k.version = name + " (tlsf), rtpengine " + strings.TrimPrefix(string(bytes.TrimSpace(second)), "Version: ")
	return nil
}

func (k *Kamailio) configure(path string, s Scene) error {
	var text bytes.Buffer
	err := kamailioTemplate.Execute(&text, map[string]any{
		"Children": children, "Listen": s.At, "Modules": k.modules, "Engine": engineAt, "Flags": passing, "Peer": s.Called,
	})
	if err != nil {
		return err
	}
	return os.WriteFile(path, text.Bytes(), 0o600)
}

func (k *Kamailio) start(ctx context.Context, place *rig.Place, name, program string, arguments ...string) error {
	process, err := place.Start(ctx, program, arguments)
	if err == nil {
		k.parts = append(k.parts, Part{name, process})
	}
	return err
}

// connect waits until rtpengine answers.
func (k *Kamailio) connect(ctx context.Context, place *rig.Place) error {
	err := place.InRelay(func() error {
		conn, err := net.Dial("udp", engineAt)
		if err == nil {
			k.ng = rival.NewNG(conn)
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("ng socket: %w", err)
	}
	if _, err := k.ng.Call(ctx, "ping", nil); err != nil {
		return fmt.Errorf("rtpengine does not answer: %w\n%s", err, k.parts[0].Process.Output())
	}
	return nil
}

// await waits until Kamailio answers an OPTIONS, with 405: all its workers have been forked by then.
func (k *Kamailio) await(ctx context.Context, s Scene) error {
	ctx, cancel := context.WithTimeout(ctx, startLimit)
	defer cancel()
	process := k.parts[len(k.parts)-1].Process
	for {
		answered, err := knock(s)
		if answered || err != nil {
			return err
		}
		select {
		case <-process.Done():
			return fmt.Errorf("kamailio did not start: %s", process.Output())
		case <-ctx.Done():
			return fmt.Errorf("kamailio does not answer: %w\n%s", ctx.Err(), process.Output())
		case <-time.After(startPause):
		}
	}
}

// knock sends an OPTIONS from the caller's address and tells whether anything came back.
func knock(s Scene) (answered bool, err error) {
	err = s.Place.InLoad(func() error {
		conn, err := net.DialUDP("udp", net.UDPAddrFromAddrPort(s.Caller), net.UDPAddrFromAddrPort(s.At))
		if err != nil {
			return err
		}
		defer conn.Close()
		if _, err := fmt.Fprintf(conn, "OPTIONS sip:%[1]s SIP/2.0\r\nVia: SIP/2.0/UDP %[2]s;branch=z9hG4bK%[3]d\r\nMax-Forwards: 1\r\n"+
			"From: <sip:bench@%[2]s>;tag=1\r\nTo: <sip:%[1]s>\r\nCall-ID: %[3]d@%[2]s\r\nCSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n",
			s.At, s.Caller, time.Now().UnixNano()); err != nil {
			return nil // refused before: nobody listens yet
		}
		if err := conn.SetReadDeadline(time.Now().Add(startPause)); err != nil {
			return err
		}
		n, _ := conn.Read(make([]byte, 2048)) // an error: not yet
		answered = n > 0
		return nil
	})
	return answered, err
}

// Books implements Gateway.
func (k *Kamailio) Books(ctx context.Context) (Books, error) {
	reply, err := k.ng.Call(ctx, "statistics", nil)
	if err != nil {
		return Books{}, err
	}
	statistics, _ := reply["statistics"].(map[string]any)
	now, _ := statistics["currentstatistics"].(map[string]any)
	totals, _ := statistics["totalstatistics"].(map[string]any)
	open, ok := now["sessionsown"].(int64)
	managed, known := totals["managedsessions"].(int64)
	if !ok || !known {
		return Books{}, errors.New("ng statistics: no sessionsown or managedsessions: rtpengine 10 or newer is needed")
	}
	return Books{Opened: uint64(managed), Sessions: int(open), Calls: -1}, nil
}

// Stop implements Gateway.
func (k *Kamailio) Stop() error {
	var errs []error
	if k.ng != nil {
		errs = append(errs, k.ng.Close())
	}
	for i := len(k.parts) - 1; i >= 0; i-- {
		errs = append(errs, k.parts[i].quit())
	}
	if k.dir != "" {
		errs = append(errs, os.RemoveAll(k.dir))
	}
	k.ng, k.parts, k.dir = nil, nil, ""
	return errors.Join(errs...)
}

// quit ends a program that unshare(1) started: that one takes no SIGTERM, its child does.
func (p *Part) quit() error {
	if p.Name == "kamailio" {
		for _, pid := range childrenOf(p.Process.PID()) {
			unix.Kill(pid, unix.SIGTERM) // an error means that it is gone
		}
		select {
		case <-p.Process.Done():
		case <-time.After(quitLimit):
		}
		err := p.Process.Stop()
		if errors.As(err, new(*exec.ExitError)) && !p.spoke() {
			return nil // its own way to report a SIGTERM
		}
		return err
	}
	return p.Process.Stop()
}

// spoke tells whether the program complained about anything.
func (p *Part) spoke() bool {
	said := p.Process.Output()
	return strings.Contains(said, "CRITICAL") || strings.Contains(said, "ERROR")
}
