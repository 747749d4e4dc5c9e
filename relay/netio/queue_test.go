package netio

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"tandem/relay/verdict"
)

func TestFloodedPortLeavesRoomForTheOthersOfABatch(t *testing.T) {
	e := openTest(t, Options{Addresses: loopbacks(t)[:1]})
	q := e.queues[0]
	ports := bindPorts(t, e, 0, 0, 4)
	peer := openPeer(t, e.addresses[0])
	for range 5 * perVisit {
		write(t, peer, e.address(ports[0]), "flood")
	}
	for _, l := range ports[1:] {
		write(t, peer, e.address(l), "voice")
	}
	var b Batch
	got := make(map[Local]int)
	recv(t, q, &b)
	for i := range b.Packets[:b.N] {
		got[b.Packets[i].In]++
	}
	for _, l := range ports[1:] {
		if got[l] != 1 {
			t.Errorf("port %d has %d packets in the first batch, want 1", l.Port(), got[l])
		}
	}
	if got[ports[0]] != perVisit {
		t.Errorf("the flooded port has %d packets in the first batch, want %d", got[ports[0]], perVisit)
	}
	for left := 4 * perVisit; left > 0; left -= b.N { // its readiness is not lost
		recv(t, q, &b)
	}
}

func TestManyFloodedPortsAreServedInTurn(t *testing.T) {
	e := openTest(t, Options{Addresses: loopbacks(t)[:1]})
	const flooded = 2 * BatchSize / perVisit // two batches full in one round
	ports := bindPorts(t, e, 0, 0, flooded)
	peer := openPeer(t, e.addresses[0])
	for _, l := range ports {
		for range 3 * perVisit {
			write(t, peer, e.address(l), "flood")
		}
	}
	var b Batch
	got := make(map[Local]int)
	for round := 1; round <= 3; round++ {
		for range 2 {
			recv(t, e.Queue(0), &b)
			if b.N != BatchSize {
				t.Fatalf("round %d: a batch of %d, want it full", round, b.N)
			}
			for i := range b.Packets[:b.N] {
				got[b.Packets[i].In]++
			}
		}
		for _, l := range ports {
			if got[l] != round*perVisit {
				t.Errorf("round %d: port %d had %d packets, want %d", round, l.Port(), got[l], round*perVisit)
			}
		}
	}
}

func TestRecvWithoutPacketsEndsAfterItsWait(t *testing.T) {
	e := openTest(t, Options{Addresses: loopbacks(t)[:1]})
	bindPorts(t, e, 0, 0, 1)
	for _, wait := range []time.Duration{-time.Second, 0, time.Microsecond, 3 * time.Millisecond} {
		b := Batch{N: 7}
		if err := e.Queue(0).Recv(&b, wait); err != nil || b.N != 0 {
			t.Errorf("wait %v: %d packets, %v", wait, b.N, err)
		}
	}
}

func TestWakeEndsAWaitingRecv(t *testing.T) {
	e := openTest(t, Options{Addresses: loopbacks(t)[:1]})
	q := e.queues[0]
	waiting := make(chan struct{}, 1)
	q.calls.wait = func(epoll int, into []unix.EpollEvent, milliseconds int) (int, unix.Errno) {
		if milliseconds > 0 {
			waiting <- struct{}{}
		}
		return waitEvents(epoll, into, milliseconds)
	}
	for range 3 {
		ended := make(chan error)
		var b Batch
		go func() { ended <- q.Recv(&b, time.Hour) }()
		<-waiting
		q.Wake()
		if err := <-ended; err != nil || b.N != 0 {
			t.Fatalf("woken: %d packets, %v", b.N, err)
		}
	}
}

func TestWakesBeforeRecvEndExactlyOne(t *testing.T) {
	e := openTest(t, Options{Addresses: loopbacks(t)[:1]})
	q := e.queues[0]
	for range 5 {
		q.Wake()
	}
	var b Batch
	if err := q.Recv(&b, time.Hour); err != nil || b.N != 0 {
		t.Fatalf("woken: %d packets, %v", b.N, err)
	}
	if n, errno := waitEvents(q.epoll, q.events[:], 0); n != 0 || errno != 0 {
		t.Errorf("%d events (%v) are left after the wakes were taken back", n, errno)
	}
}

func TestInterruptedWaitGoesOn(t *testing.T) {
	e := openTest(t, Options{Addresses: loopbacks(t)[:1]})
	q := e.queues[0]
	l := bindPorts(t, e, 0, 0, 1)[0]
	peer := openPeer(t, e.addresses[0])
	interrupts := 0
	q.calls.wait = func(epoll int, into []unix.EpollEvent, milliseconds int) (int, unix.Errno) {
		switch {
		case milliseconds == 0:
			return 0, 0 // nothing yet: Recv goes on to wait
		case interrupts < 3:
			interrupts++
			return 0, unix.EINTR
		}
		write(t, peer, e.address(l), "after the interrupts")
		return waitEvents(epoll, into, milliseconds)
	}
	var b Batch
	recv(t, q, &b)
	if interrupts != 3 || string(b.Packets[0].Data) != "after the interrupts" {
		t.Errorf("after %d interrupts received %q", interrupts, b.Packets[0].Data)
	}
}

func TestFailedWaitNamesQueueAndCall(t *testing.T) {
	e := openTest(t, Options{Addresses: loopbacks(t)[:1], Workers: 2})
	q := e.queues[1]
	q.calls.wait = func(int, []unix.EpollEvent, int) (int, unix.Errno) { return 0, unix.EBADF }
	var b Batch
	err := q.Recv(&b, 0)
	if err == nil || !strings.Contains(err.Error(), "queue 1: epoll_wait") {
		t.Errorf("%v, want an error that names queue 1 and epoll_wait", err)
	}
}

func TestReadinessWithoutDatagramNeitherFailsNorSpinsForever(t *testing.T) {
	e := openTest(t, Options{Addresses: loopbacks(t)[:1]})
	q := e.queues[0]
	l := bindPorts(t, e, 0, 0, 1)[0]
	write(t, openPeer(t, e.addresses[0]), e.address(l), "unreadable")
	looked := 0
	q.calls.receive = func(int, []mmsghdr) (int, unix.Errno) { looked++; return 0, unix.EAGAIN }
	for _, wait := range []time.Duration{0, time.Millisecond} {
		var b Batch
		if err := q.Recv(&b, wait); err != nil || b.N != 0 {
			t.Fatalf("wait %v: %d packets, %v", wait, b.N, err)
		}
	}
	if looked < 2 {
		t.Errorf("looked %d times at the port, want once a Recv at least", looked)
	}
	q.calls.receive = receiveMessages
	var b Batch
	recv(t, q, &b)
}

// TestSendFailsOnlyThePacketTheKernelRefuses sends six packets in one run through a kernel that takes at most two a call
// and refuses some. A pending ICMP error (ECONNREFUSED) belongs to no packet of the run: it is worth one more try.
func TestSendFailsOnlyThePacketTheKernelRefuses(t *testing.T) {
	const F, X = verdict.Forward, verdict.SendFailed
	tests := []struct {
		name   string
		refuse map[int][]unix.Errno // by packet: what its tries give before it is taken
		want   [6]verdict.Verdict
	}{
		{"partial sends", nil, [6]verdict.Verdict{F, F, F, F, F, F}},
		{"full send buffer", map[int][]unix.Errno{3: {unix.EAGAIN}}, [6]verdict.Verdict{F, F, F, X, F, F}},
		{"full device queue", map[int][]unix.Errno{0: {unix.ENOBUFS}, 5: {unix.ENOBUFS}}, [6]verdict.Verdict{X, F, F, F, F, X}},
		{"firewall", map[int][]unix.Errno{1: {unix.EPERM}, 2: {unix.EPERM}}, [6]verdict.Verdict{F, X, X, F, F, F}},
		{"one ICMP error", map[int][]unix.Errno{2: {unix.ECONNREFUSED}}, [6]verdict.Verdict{F, F, F, F, F, F}},
		{"ICMP error after ICMP error", map[int][]unix.Errno{0: {unix.ECONNREFUSED}, 1: {unix.ECONNREFUSED}}, [6]verdict.Verdict{F, F, F, F, F, F}},
		{"an ICMP error twice", map[int][]unix.Errno{4: {unix.ECONNREFUSED, unix.ECONNREFUSED}}, [6]verdict.Verdict{F, F, F, F, X, F}},
		{"interrupted", map[int][]unix.Errno{3: {unix.EINTR, unix.EINTR}}, [6]verdict.Verdict{F, F, F, F, F, F}},
		{"everything", map[int][]unix.Errno{0: {unix.EAGAIN}, 1: {unix.EAGAIN}, 2: {unix.EAGAIN}, 3: {unix.EAGAIN}, 4: {unix.EAGAIN}, 5: {unix.EAGAIN}},
			[6]verdict.Verdict{X, X, X, X, X, X}},
	}
	e := openTest(t, Options{Addresses: loopbacks(t)[:1]})
	q := e.queues[0]
	l := bindPorts(t, e, 0, 0, 1)[0]
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			var b Batch
			var taken string
			for i := range test.want {
				b.Packets[i] = Packet{Data: []byte{byte('0' + i)}, Out: l, Dst: Addr{IP: [16]byte{10: 0xff, 11: 0xff, 12: 127, 15: 1}, Port: 9}}
				b.N++
			}
			q.calls.send = func(_ int, from []mmsghdr) (sent int, errno unix.Errno) {
				for sent < min(2, len(from)) {
					name := *from[sent].header.Iov.Base
					i := int(name - '0')
					if tries := test.refuse[i]; len(tries) > 0 {
						if sent > 0 {
							return sent, 0 // as the kernel does: the error shows when this message is the first
						}
						test.refuse[i] = tries[1:]
						return 0, tries[0]
					}
					taken += string(name)
					sent++
				}
				return sent, 0
			}
			before := q.Stats()
			q.Send(&b)
			want := ""
			for i, v := range test.want {
				if b.Packets[i].Verdict != v {
					t.Errorf("packet %d: %v, want %v", i, b.Packets[i].Verdict, v)
				}
				if v == verdict.Forward {
					want += string(rune('0' + i))
				}
			}
			if taken != want || q.Stats().SendPackets-before.SendPackets != uint64(len(want)) {
				t.Errorf("the kernel took %q in this order and %d were counted, want %q", taken, q.Stats().SendPackets-before.SendPackets, want)
			}
		})
	}
}

func TestSendGroupsRunsOfOnePortAndKeepsTheOrder(t *testing.T) {
	e := openTest(t, Options{Addresses: loopbacks(t)[:1]})
	q := e.queues[0]
	ports := bindPorts(t, e, 0, 0, 2)
	peer := openPeer(t, e.addresses[0])
	runs := ""
	q.calls.send = func(fd int, from []mmsghdr) (int, unix.Errno) {
		runs += fmt.Sprint(len(from), " ")
		return sendMessages(fd, from)
	}
	var b Batch
	// Upper case leaves by the second port; "x" was dropped by the worker.
	for i, c := range "abxcABdxxeF" {
		p := Packet{Data: []byte(string(c)), Out: ports[0], Dst: addressOf(peer)}
		if c < 'a' {
			p.Out = ports[1]
		}
		if c == 'x' {
			p.Verdict = verdict.Stranger
		}
		b.Packets[i] = p
		b.N++
	}
	q.Send(&b)
	if runs != "3 2 2 1 " {
		t.Errorf("calls of %smessages, want 3 2 2 1", runs)
	}
	for _, want := range "abcABdeF" {
		text, from := read(t, peer)
		if text != string(want) || (from == e.address(ports[1])) != (want < 'a') {
			t.Errorf("received %q from %v, want %q", text, from, want)
		}
	}
	if b.Packets[2].Verdict != verdict.Stranger {
		t.Errorf("Send changed a dropped packet's verdict to %v", b.Packets[2].Verdict)
	}
}

func TestPacketsThatCannotLeaveAreSendFailed(t *testing.T) {
	addresses := loopbacks(t)
	e := openTest(t, Options{Addresses: addresses})
	v4 := bindPorts(t, e, 0, 0, 1)[0]
	peer := openPeer(t, addresses[0])
	tests := []struct {
		name string
		out  Local
		dst  string
	}{
		{"unbound port", MakeLocal(0, 1), "127.0.0.1:9"},
		{"no such slot", MakeLocal(9, v4.Port()), "127.0.0.1:9"},
		{"no destination", v4, ""},
		{"port 0", v4, "127.0.0.1:0"},
		{"unspecified address, which would be loopback", v4, "0.0.0.0:9"},
		{"IPv6 from an IPv4 port", v4, "[::1]:9"},
		{"broadcast, which the kernel refuses", v4, "255.255.255.255:9"},
	}
	if len(addresses) > 1 {
		v6 := bindPorts(t, e, 0, 1, 1)[0]
		tests = append(tests, []struct {
			name string
			out  Local
			dst  string
		}{
			{"IPv4 from an IPv6 port", v6, "127.0.0.1:9"},
			{"unspecified IPv6 address", v6, "[::]:9"},
		}...)
	}
	var b Batch
	for i, test := range tests {
		var dst netip.AddrPort
		if test.dst != "" {
			dst = netip.MustParseAddrPort(test.dst)
		}
		b.Packets[i] = Packet{Data: []byte("refused"), Out: test.out, Dst: AddrFrom(dst)}
	}
	b.N = len(tests) + 1
	innocent := &b.Packets[len(tests)]
	*innocent = Packet{Data: []byte("innocent"), Out: v4, Dst: addressOf(peer)}
	e.Queue(0).Send(&b)
	for i, test := range tests {
		if b.Packets[i].Verdict != verdict.SendFailed {
			t.Errorf("%s: %v, want send_failed", test.name, b.Packets[i].Verdict)
		}
	}
	if text, _ := read(t, peer); text != "innocent" || innocent.Verdict != verdict.Forward {
		t.Errorf("received %q; the innocent packet is %v", text, innocent.Verdict)
	}
}
