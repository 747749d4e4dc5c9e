// Package rival is the relay that Tandem is compared with: rtpengine in user space, started in the same place, set up by a
// small ng client of our own, with the settings that make it fastest and still do the same work.
//
// The failure it prevents is the unfair comparison, in either direction. What is switched off for it: endpoint learning and
// source checks (Tandem keeps its own), DTLS, ICE, the kernel table, logging, calls that linger after their end. What must
// not be switched off: with the same suite on both legs rtpengine hands one peer's key on to the other and forwards packets
// unopened, so secure legs of one call have different suites, and every answer is checked for keys that repeat.
//
// Files in the order things happen: rtpengine (the process and its calls), ng and bencode (how it is told), sdp (what).
package rival

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os/exec"
	"strings"

	"tandem/bench/load"
	"tandem/bench/rig"
	"tandem/bench/subject"
)

const (
	listen    = "127.0.0.1:2223" // ng, on the loopback of the relay's namespace
	direction = "bench"          // of both legs: the name that all interfaces share, taken in turn
	never     = "86400"          // seconds until a silent call ends: a day, longer than any run
)

// unwanted are the suites that rtpengine offers to B beside the two in use, which makes every SDP three times as long.
var unwanted = []string{
	"AEAD_AES_256_GCM", "AEAD_AES_128_GCM", "AES_256_CM_HMAC_SHA1_80", "AES_256_CM_HMAC_SHA1_32", "AES_192_CM_HMAC_SHA1_80",
	"AES_192_CM_HMAC_SHA1_32", "F8_128_HMAC_SHA1_80", "F8_128_HMAC_SHA1_32", "NULL_HMAC_SHA1_80", "NULL_HMAC_SHA1_32",
}

// Rtpengine is rtpengine with one worker thread.
type Rtpengine struct {
	Binary string // a path, or a name to be found

	version string
	process *rig.Process
	ng      *NG
}

// Find returns a rival for "rtpengine" or "rtpengine:PATH".
func Find(spec string) (*Rtpengine, error) {
	name, path, found := strings.Cut(spec, ":")
	if name != "rtpengine" || found && path == "" {
		return nil, fmt.Errorf("rival %q is not known: rtpengine, or rtpengine:PATH of its binary", spec)
	}
	if !found {
		path = "rtpengine"
	}
	resolved, err := exec.LookPath(path)
	if err != nil {
		return nil, fmt.Errorf("rival %s: %w: install it with apt-get install rtpengine-daemon, or name a binary with rtpengine:PATH", spec, err)
	}
	return &Rtpengine{Binary: resolved}, nil
}

// Name implements subject.Subject.
func (r *Rtpengine) Name() string { return "rtpengine" }

// Version implements subject.Subject.
func (r *Rtpengine) Version() string { return r.version }

// Process implements subject.Subject.
func (r *Rtpengine) Process() *rig.Process { return r.process }

// Arguments are rtpengine's command line for these addresses. One worker thread, since it has one core; --table=-1 keeps
// the kernel out; learning is off, the cheapest of its ways to know where a peer is (it still accepts every source).
func Arguments(addresses []netip.Addr) []string {
	arguments := []string{
		"--foreground", "--log-stderr", "--log-level=3", "--table=-1", "--num-threads=1", "--listen-ng=" + listen,
		"--delete-delay=0", "--endpoint-learning=off", "--timeout=" + never, "--silent-timeout=" + never,
		"--tos=184", // EF, as Tandem marks
		fmt.Sprintf("--port-min=%d", subject.FirstPort), fmt.Sprintf("--port-max=%d", subject.LastPort),
	}
	for i, a := range addresses {
		if a.Is4() {
			arguments = append(arguments, fmt.Sprintf("--interface=%s:%d/%s", direction, i, a))
		}
	}
	return arguments
}

// Start implements subject.Subject.
func (r *Rtpengine) Start(ctx context.Context, place *rig.Place) (err error) {
	defer func() {
		if err != nil {
			r.Stop() // what it said is in err
		}
	}()
	said, err := exec.CommandContext(ctx, r.Binary, "--version").CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s --version: %w\n%s", r.Binary, err, said)
	}
	r.version = "rtpengine " + strings.TrimPrefix(string(bytes.TrimSpace(said)), "Version: ")
	if r.process, err = place.Start(ctx, r.Binary, Arguments(place.RelayAddresses())); err != nil {
		return err
	}
	err = place.InRelay(func() error {
		conn, err := net.Dial("udp", listen)
		if err == nil {
			r.ng = NewNG(conn)
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("ng socket: %w", err)
	}
	if _, err = r.ng.Call(ctx, "ping", nil); err != nil {
		return fmt.Errorf("rtpengine does not answer: %w\n%s", err, r.process.Output())
	}
	return nil
}

// Open implements subject.Subject.
func (r *Rtpengine) Open(ctx context.Context, calls []load.Call) error {
	return subject.InParallel(ctx, len(calls), func(ctx context.Context, i int) error {
		if err := r.establish(ctx, i, &calls[i]); err != nil {
			return fmt.Errorf("open call %d: %w", i, err)
		}
		return nil
	})
}

// establish sets one call up as a proxy between two peers would: A's offer goes through to B, B's answer back to A.
func (r *Rtpengine) establish(ctx context.Context, i int, c *load.Call) error {
	if c.A.Suite != "" && c.A.Suite == c.B.Suite {
		return fmt.Errorf("both legs have suite %s: rtpengine would forward packets unopened", c.A.Suite)
	}
	offer := media{address: c.A.Peer}
	if c.A.Suite != "" {
		offer.cryptos = []crypto{{1, c.A.Suite, c.A.PeerKey}}
	}
	offered, err := r.pass(ctx, i, "offer", &offer, profile(c.B.Suite))
	if err != nil {
		return err
	}
	answer := media{address: c.B.Peer}
	if c.B.Suite != "" {
		towardsB, err := offered.choose(c.B.Suite)
		if err != nil {
			return err
		}
		c.B.RelayKey = towardsB.key
		answer.cryptos = []crypto{{towardsB.tag, c.B.Suite, c.B.PeerKey}}
	}
	answered, err := r.pass(ctx, i, "answer", &answer, "")
	if err != nil {
		return err
	}
	if c.A.Suite != "" {
		towardsA, err := answered.choose(c.A.Suite)
		if err != nil {
			return err
		}
		c.A.RelayKey = towardsA.key
	}
	// Each peer sends to the address in the SDP that it was sent.
	c.A.Relay, c.B.Relay = answered.address, offered.address
	if c.A.Suite != "" && (bytes.Equal(c.A.RelayKey, c.B.PeerKey) || bytes.Equal(c.B.RelayKey, c.A.PeerKey)) {
		return errors.New("rtpengine handed one peer's key on to the other: it would forward packets unopened")
	}
	return nil
}

func profile(suite string) string {
	if suite == "" {
		return "RTP/AVP"
	}
	return "RTP/SAVP"
}

// pass sends one SDP through rtpengine and returns what it made of it. towards is the transport for the other side.
func (r *Rtpengine) pass(ctx context.Context, i int, command string, m *media, towards string) (*media, error) {
	arguments := map[string]any{
		"call-id": subject.SessionID(i), "from-tag": "a", "sdp": m.text(),
		"ICE": "remove", "DTLS": "off", "rtcp-mux": []string{"accept"},
		"flags":   []string{"trust-address", "asymmetric"},
		"replace": []string{"origin", "session-connection"},
	}
	if command == "answer" {
		arguments["to-tag"] = "b"
	} else {
		var without []string
		for _, suite := range unwanted {
			without = append(without, "no-"+suite)
		}
		arguments["SDES"] = without
		arguments["transport-protocol"] = towards
		arguments["direction"] = []string{direction, direction}
	}
	reply, err := r.ng.Call(ctx, command, arguments)
	if err != nil {
		return nil, err
	}
	body, _ := reply["sdp"].(string)
	made, err := parseMedia(body)
	if err != nil {
		return nil, fmt.Errorf("ng %s: %w", command, err)
	}
	return made, nil
}

// Counters implements subject.Subject: the totals of the ng command statistics.
func (r *Rtpengine) Counters(ctx context.Context) (subject.Counters, error) {
	reply, err := r.ng.Call(ctx, "statistics", nil)
	if err != nil {
		return subject.Counters{}, err
	}
	statistics, _ := reply["statistics"].(map[string]any)
	totals, _ := statistics["totalstatistics"].(map[string]any)
	user, ok := totals["relayedpackets_user"].(int64)
	if !ok {
		return subject.Counters{}, errors.New("ng statistics: no totalstatistics.relayedpackets_user: rtpengine 10 or newer is needed")
	}
	kernel, _ := totals["relayedpackets_kernel"].(int64)
	failed, _ := totals["relayedpacketerrors_user"].(int64)
	return subject.Counters{
		Received: uint64(user + failed), Forwarded: uint64(user), Kernel: uint64(kernel), Drops: map[string]uint64{"error": uint64(failed)},
	}, nil
}

// statisticsSlack allows for totals that rtpengine adds up once a second: packets of the warm-up may come into them late.
const statisticsSlack = 1.05

// Prove implements subject.Subject.
func (r *Rtpengine) Prove(before, after subject.Counters, l *load.Result) (string, error) {
	d := after.Since(before)
	switch {
	case d.Kernel > 0:
		return "", fmt.Errorf("rtpengine forwarded %d packets in the kernel: the comparison is with user space", d.Kernel)
	case l.Delivered > d.Forwarded:
		return "", fmt.Errorf("rtpengine forwarded %d packets, but %d arrived: they took another path", d.Forwarded, l.Delivered)
	case float64(d.Received) > float64(l.Sent)*statisticsSlack:
		return "", fmt.Errorf("rtpengine received %d packets, but only %d were sent: somebody else's traffic is in the numbers", d.Received, l.Sent)
	}
	return "rtpengine/userspace", nil
}

// Stop implements subject.Subject.
func (r *Rtpengine) Stop() error {
	var errs []error
	if r.ng != nil {
		errs = append(errs, r.ng.Close())
	}
	if r.process != nil {
		errs = append(errs, r.process.Stop())
	}
	r.ng, r.process = nil, nil
	return errors.Join(errs...)
}
