package rival

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	"tandem/bench/load"
	"tandem/bench/subject"
)

func TestARivalIsFoundByNameOrPath(t *testing.T) {
	if r, err := Find("rtpengine:/bin/sh"); err != nil || r.Binary != "/bin/sh" || r.Name() != "rtpengine" {
		t.Errorf("%+v %v", r, err)
	}
	for spec, says := range map[string]string{
		"rtpproxy": "is not known", "rtpengine:": "is not known", "": "is not known", "rtpengine:/no/such": "apt-get install",
	} {
		if _, err := Find(spec); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%q: %v; want %q", spec, err, says)
		}
	}
}

func TestItRunsInUserSpaceOnOneThreadWithOurPorts(t *testing.T) {
	got := Arguments([]netip.Addr{netip.MustParseAddr("198.18.0.1"), netip.MustParseAddr("198.18.0.2"), netip.MustParseAddr("fd00::1")})
	for _, want := range []string{
		"--table=-1", "--num-threads=1", "--delete-delay=0", "--foreground", "--port-min=20000", "--port-max=59999",
		"--interface=bench:0/198.18.0.1", "--interface=bench:1/198.18.0.2", "--listen-ng=127.0.0.1:2223",
	} {
		if !slices.Contains(got, want) {
			t.Errorf("no %s in %q", want, got)
		}
	}
	if strings.Contains(strings.Join(got, " "), "fd00") {
		t.Errorf("an address that the calls do not use: %q", got)
	}
}

func TestPacketsThatTookAnotherPathAreAnError(t *testing.T) {
	for name, c := range map[string]struct {
		after subject.Counters
		says  string
	}{
		"user space":      {subject.Counters{Received: 100, Forwarded: 99}, ""},
		"a late total":    {subject.Counters{Received: 105, Forwarded: 105}, ""},
		"kernel":          {subject.Counters{Received: 99, Forwarded: 99, Kernel: 1}, "in the kernel"},
		"past it":         {subject.Counters{Received: 98, Forwarded: 98}, "another path"},
		"others' packets": {subject.Counters{Received: 106, Forwarded: 106}, "somebody else's"},
	} {
		path, err := (&Rtpengine{}).Prove(subject.Counters{}, c.after, &load.Result{Sent: 100, Delivered: 99})
		if c.says == "" && (err != nil || path != "rtpengine/userspace") || c.says != "" && (err == nil || !strings.Contains(err.Error(), c.says)) {
			t.Errorf("%s: %q %v", name, path, err)
		}
	}
}

func TestLegsOfOneSuiteAreRefusedSinceNothingWouldBeOpened(t *testing.T) {
	call := load.Call{A: load.Side{Suite: load.DefaultSuite}, B: load.Side{Suite: load.DefaultSuite}}
	if err := (&Rtpengine{}).establish(t.Context(), 0, &call); err == nil || !strings.Contains(err.Error(), "unopened") {
		t.Error(err)
	}
}
