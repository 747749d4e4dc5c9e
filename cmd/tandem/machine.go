package main

import (
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/netip"
	"runtime"
	"slices"
	"syscall"

	"tandem/internal/config"
)

// absent tells what the configuration names and this machine does not have. The file may be meant for another machine, so
// this is no error of the file.
func absent(cfg *config.Config) []error {
	all := slices.Concat(absentAddresses(cfg), absentIdentities(cfg), absentPasswords(cfg), absentRecords(cfg))
	if _, err := serverOptions(&cfg.Control, slog.New(slog.DiscardHandler)); err != nil {
		all = append(all, err)
	}
	if n := runtime.NumCPU(); cfg.Media.Workers > n && cfg.Line("media.workers") > 0 {
		all = append(all, fmt.Errorf("%s: %d workers share %d processors; write at most %d", cfg.At("media.workers"), cfg.Media.Workers, n, n))
	}
	return all
}

// place is an address of ours and the key that says it.
type place struct {
	key  string
	addr netip.Addr
}

// mediaPlaces are the addresses of the media networks, in the order of their names.
func mediaPlaces(cfg *config.Config) []place {
	var all []place
	for _, name := range slices.Sorted(maps.Keys(cfg.Media.Networks)) {
		for i, a := range cfg.Media.Networks[name].Addresses {
			all = append(all, place{fmt.Sprintf("media.networks.%s.addresses[%d]", name, i), a})
		}
	}
	return all
}

// absentAddresses are those that media and calls want here, each once. Listeners that the file gives to another node want
// nothing of this machine.
func absentAddresses(cfg *config.Config) []error {
	places := mediaPlaces(cfg)
	for _, name := range slices.Sorted(maps.Keys(cfg.SIP.Listeners)) {
		if l := cfg.SIP.Listeners[name]; l.Node == "" || l.Node == cfg.Node {
			places = append(places, place{"sip.listeners." + name + ".address", l.Address.Addr()})
		}
	}
	var all []error
	looked := make(map[netip.Addr]bool)
	for _, p := range places {
		if !looked[p.addr] && !present(p.addr) {
			all = append(all, fmt.Errorf("%s: %s: there is no such address; %s", cfg.At(p.key), p.addr, addressAdvice))
		}
		looked[p.addr] = true
	}
	return all
}

// present tells whether a socket can be bound to an address here. The kernel is asked, and not the interfaces for their lists:
// it may be told to lend addresses that are on none (ip_nonlocal_bind, a local route).
func present(a netip.Addr) bool {
	s, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(a, 0)))
	if err != nil {
		return !errors.Is(err, syscall.EADDRNOTAVAIL) && !errors.Is(err, syscall.EAFNOSUPPORT)
	}
	s.Close()
	return true
}

// tellAbsentMedia says at the start which media addresses this machine lacks. That ends nothing: an address that moves between
// two machines comes later.
func tellAbsentMedia(cfg *config.Config, log *slog.Logger) {
	places := mediaPlaces(cfg)
	missing := slices.DeleteFunc(slices.Clone(places), func(p place) bool { return present(p.addr) })
	for _, p := range missing {
		log.Warn("this machine lacks a media address: calls that need it will fail", "address", p.addr, "key", cfg.At(p.key), "do", addressAdvice)
	}
	if len(missing) == len(places) {
		log.Error("no media address is on this machine: every session.open will fail", "addresses", len(places))
	}
}

// What to do about a socket that cannot be bound.
const (
	addressAdvice = "ip address lists those of this machine: correct the one in the file, or give it to an interface"
	portAdvice    = "another program has this port, perhaps another tandem (ss -lnp lists who has which): stop it, or choose another port"
	lowAdvice     = "ports below 1024 are for root and for who has CAP_NET_BIND_SERVICE: grant it, or choose another port"
)

// unbound tells of a socket that could not be bound: the key that wants it, the address once, and what to do. Any other error
// stays as it is.
func unbound(key string, err error) error {
	op, ok := errors.AsType[*net.OpError](err)
	if !ok || op.Addr == nil {
		return err
	}
	for errno, do := range map[syscall.Errno]string{
		syscall.EADDRNOTAVAIL: addressAdvice, syscall.EADDRINUSE: portAdvice, syscall.EACCES: lowAdvice,
	} {
		if errors.Is(err, errno) {
			return fmt.Errorf("%s: %s: %w; %s", key, op.Addr, errno, do)
		}
	}
	return err
}

// unboundListener is unbound for the listener whose address it is.
func unboundListener(cfg *config.Config, err error) error {
	op, ok := errors.AsType[*net.OpError](err)
	if !ok || op.Addr == nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(cfg.SIP.Listeners)) {
		l := cfg.SIP.Listeners[name]
		if (l.Transport == config.UDPTransport) == (op.Net == "udp") && l.Address.String() == op.Addr.String() {
			return unbound(cfg.At("sip.listeners."+name+".address"), err)
		}
	}
	return err
}

// unboundMetrics is unbound for an endpoint of metrics, which one can do without.
func unboundMetrics(key string, err error) error {
	if told := unbound(key, err); told != err {
		return fmt.Errorf("%w; or do without: --metrics=off", told)
	}
	return err
}
