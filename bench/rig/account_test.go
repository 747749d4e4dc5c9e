package rig

import (
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestReceiveWorkIsOnTheRelaysThreadAndInTheAccount(t *testing.T) {
	place := build(t)
	relay := netip.AddrPortFrom(place.RelayAddresses()[0], 4000)
	before, err := place.CPU(nil)
	if err != nil {
		t.Fatal(err)
	}
	const packets = 1000
	process := pingPong(t, place, relay, netip.AddrPortFrom(place.PeerAddresses()[0], 5000), packets)
	after, err := place.CPU(process)
	if err != nil {
		t.Fatal(err)
	}
	u := after.Since(before, place.RelayCPU())
	if u.Process <= 0 || u.RSS == 0 || u.Wall <= 0 {
		t.Errorf("no account of the process: %+v", u)
	}
	if u.NAPI < packets*leastNAPI {
		t.Errorf("the NAPI thread ran %s for %d packets", u.NAPI, packets)
	}
	if !u.NAPIHome {
		t.Error("the NAPI thread is not at home on the relay's CPU")
	}
	if u.Home < packets {
		t.Errorf("%d packets were handed to protocols on the relay's CPU, %d were sent", u.Home, packets)
	}
	drops, err := place.WireDrops()
	if err != nil || drops != (WireDrops{}) {
		t.Errorf("drops %+v, %v", drops, err)
	}
}

func TestANAPIThreadThatMayLeaveItsCPUIsReported(t *testing.T) {
	place := build(t)
	var both unix.CPUSet
	both.Set(place.RelayCPU())
	both.Set(place.LoadCPU())
	if err := unix.SchedSetaffinity(place.relay.napi[0], &both); err != nil {
		t.Fatal(err)
	}
	s, err := place.CPU(nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Since(s, place.RelayCPU()).Check(0); err == nil || !strings.Contains(err.Error(), "left its CPU") {
		t.Errorf("Check: %v", err)
	}
}

func TestAnAccountThatIsNotTheRelaysIsRefused(t *testing.T) {
	good := Usage{Wall: time.Second, Process: time.Second / 2, NAPI: time.Second / 10, Home: 100_000, NAPIHome: true}
	cases := []struct {
		name   string
		change func(*Usage)
		want   string
	}{
		{"as it should be", func(*Usage) {}, ""},
		{"other networking of the machine", func(u *Usage) { u.Abroad = 20_000 }, ""},
		{"received by the sender's CPU", func(u *Usage) { u.NAPI, u.Home, u.Polled = time.Millisecond, 20_000, 0 }, "received elsewhere"},
		{"the same to an AF_XDP socket, beside some polls", func(u *Usage) { u.NAPI, u.Home, u.Polled = 0, 0, 40_000 }, "received elsewhere"},
		{"received by the relay's own polls", func(u *Usage) { u.NAPI = time.Millisecond }, ""},
		{"the same to an AF_XDP socket", func(u *Usage) { u.NAPI, u.Home, u.Polled = time.Millisecond, 0, 60_000 }, ""},
		{"left", func(u *Usage) { u.NAPIHome = false }, "left its CPU"},
		{"handed over elsewhere", func(u *Usage) { u.Abroad = 100_000 }, "other CPUs"},
	}
	for _, c := range cases {
		u := good
		c.change(&u)
		err := u.Check(100_000)
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: %v, want %q", c.name, err, c.want)
		}
	}
	if got := good.NsPer(100_000); got != 6000 {
		t.Errorf("%v ns per packet, want 6000", got)
	}
	if got := good.NsPer(0); got != 0 {
		t.Errorf("%v ns per packet of none", got)
	}
}

func TestSoftnetCountersMayWrap(t *testing.T) {
	before := Sample{Softnet: []uint64{0xffff_fff0, 5}}
	after := Sample{Softnet: []uint64{0x10, 7}}
	if u := after.Since(before, 0); u.Home != 0x20 || u.Abroad != 2 {
		t.Errorf("home %d, abroad %d", u.Home, u.Abroad)
	}
}

func TestARunTimeIsNeverLessThanWhatWasSpent(t *testing.T) {
	before, err := runTime(os.Getpid())
	if err != nil {
		leaveOut(t, "no /proc/PID/schedstat: "+err.Error())
	}
	var start, now unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &start); err != nil {
		t.Fatal(err)
	}
	spent := func() time.Duration {
		if err := unix.Getrusage(unix.RUSAGE_SELF, &now); err != nil {
			t.Fatal(err)
		}
		return time.Duration(now.Utime.Nano() + now.Stime.Nano() - start.Utime.Nano() - start.Stime.Nano())
	}
	for spent() < 20*time.Millisecond {
	}
	after, err := runTime(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	if after-before < 10*time.Millisecond { // rusage may be an estimate by ticks of 4 ms
		t.Errorf("the account says %s, getrusage %s", after-before, spent())
	}
}

func TestOccupyingACPUIsUndone(t *testing.T) {
	needRoot(t)
	var before, within, after unix.CPUSet
	read := func(into *unix.CPUSet) {
		t.Helper()
		if err := unix.SchedGetaffinity(0, into); err != nil {
			t.Fatal(err)
		}
	}
	session := func() string {
		text, err := os.ReadFile("/proc/self/autogroup")
		if err != nil {
			return ""
		}
		return string(text)
	}
	was := session()
	read(&before)
	release, err := Occupy(0)
	if err != nil {
		t.Fatal(err)
	}
	read(&within)
	if within.Count() != 1 || !within.IsSet(0) {
		t.Errorf("within: %d CPUs", within.Count())
	}
	if err := release(); err != nil {
		t.Fatal(err)
	}
	read(&after)
	if after != before {
		t.Errorf("after: %d CPUs, before: %d", after.Count(), before.Count())
	}
	if session() != was {
		t.Errorf("the session's weight is %q, was %q", session(), was)
	}
}

func TestAProcessThatFailsSaysWhatItSaid(t *testing.T) {
	place := build(t)
	if _, err := place.Start(t.Context(), "no-such-program", nil); err == nil || !strings.Contains(err.Error(), "no-such-program") {
		t.Errorf("Start: %v", err)
	}
	process, err := place.Start(t.Context(), "sh", []string{"-c", "echo the port is taken >&2; exit 3"})
	if err != nil {
		t.Fatal(err)
	}
	<-process.Done()
	if err := process.Stop(); err == nil || !strings.Contains(err.Error(), "the port is taken") || !strings.Contains(err.Error(), "exit status 3") {
		t.Errorf("Stop: %v", err)
	}
}

func TestAProcessThatIsAskedToEndEndedWell(t *testing.T) {
	place := build(t)
	process, err := place.Start(t.Context(), "sleep", []string{"1000"})
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := process.Stop(); err != nil {
			t.Errorf("Stop: %v", err)
		}
	}
}

func TestOutputKeepsTheEnd(t *testing.T) {
	var out tail
	for range 100 {
		out.Write([]byte(strings.Repeat("x", keptOutput/10)))
	}
	out.Write([]byte("end"))
	if s := out.String(); len(s) != keptOutput || !strings.HasSuffix(s, "xend") {
		t.Errorf("%d bytes, end %q", len(s), s[len(s)-8:])
	}
}
