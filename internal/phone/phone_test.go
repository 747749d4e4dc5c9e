package phone

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"tandem/internal/authority"
)

func TestMain(m *testing.M) {
	slog.SetDefault(slog.New(slog.DiscardHandler)) // sipgo's
	os.Exit(m.Run())
}

// patience is longer than anything here takes on a busy machine; who waits for an event waits for it alone.
const patience = 20 * time.Second

func patient(t *testing.T) context.Context {
	ctx, stop := context.WithTimeout(t.Context(), patience)
	t.Cleanup(stop)
	return ctx
}

func contextOf(t *testing.T) (context.Context, context.CancelFunc) {
	return context.WithCancel(patient(t))
}

func open(t *testing.T, o Options) *Phone {
	t.Helper()
	p, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return p
}

// answering makes a phone that rings and answers; what it answered comes by the channel.
func answering(t *testing.T, p *Phone) <-chan *Call {
	calls := make(chan *Call, 1)
	p.OnCall(func(in *Incoming) {
		if err := in.Ring(); err != nil {
			t.Errorf("ring: %v", err)
		}
		c, err := in.Answer()
		if err != nil {
			t.Errorf("answer: %v", err)
		}
		calls <- c
	})
	return calls
}

// connect places a call between two phones.
func connect(t *testing.T, from, to *Phone) (a, b *Call) {
	t.Helper()
	calls := answering(t, to)
	a, err := from.Call(patient(t), "+4930123", to.Address())
	if err != nil {
		t.Fatal(err)
	}
	b = <-calls
	if b == nil {
		t.FailNow()
	}
	return a, b
}

// converse lets both talk for some packets and waits until both were heard.
func converse(t *testing.T, a, b *Call, packets int) {
	t.Helper()
	d := time.Duration(packets) * frameTime
	before := [2]uint64{a.Report().Received, b.Report().Received}
	var both sync.WaitGroup
	for _, c := range []*Call{a, b} {
		both.Go(func() {
			if err := c.Talk(t.Context(), d); err != nil {
				t.Errorf("talk: %v", err)
			}
		})
	}
	both.Wait()
	for i, c := range []*Call{a, b} {
		if err := c.Heard(patient(t), before[i]+uint64(packets)); err != nil {
			t.Errorf("%v; report %+v", err, c.Report())
		}
	}
}

func TestTwoPhonesHearEachOtherByteForByte(t *testing.T) {
	ident := identity(t)
	tests := []struct {
		name string
		o    Options
	}{
		{"udp, RTP", Options{}},
		{"tcp, RTP", Options{Transport: "tcp"}},
		{"IPv6", Options{Local: netip.IPv6Loopback()}},
	}
	for _, s := range suiteNames() {
		tests = append(tests, struct {
			name string
			o    Options
		}{"tls, " + s, Options{Transport: "tls", TLS: ident, SRTP: s}})
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if tt.o.Local.Is6() && !hasIPv6() {
				t.Skip("this machine has no IPv6 loopback")
			}
			a, b := connect(t, open(t, tt.o), open(t, tt.o))
			converse(t, a, b, 20)
			if err := a.Hangup(patient(t)); err != nil {
				t.Error(err)
			}
			<-b.Done()
			for name, r := range map[string]Report{"caller": a.Report(), "callee": b.Report()} {
				if r.Sent != 20 || r.Received != 20 || r.Corrupt+r.Lost+r.Duplicates != 0 {
					t.Errorf("%s: %+v", name, r)
				}
				if r.Suite != tt.o.SRTP || r.MOS < 4 || r.SetupTime <= 0 || r.FirstAudio <= 0 {
					t.Errorf("%s: %+v", name, r)
				}
			}
		})
	}
}

func TestEitherSideCanHangUp(t *testing.T) {
	for _, caller := range []bool{true, false} {
		a, b := connect(t, open(t, Options{}), open(t, Options{}))
		if !caller {
			a, b = b, a
		}
		if err := a.Hangup(patient(t)); err != nil {
			t.Error(err)
		}
		<-a.Done()
		<-b.Done()
		if err := b.Hangup(patient(t)); err != nil {
			t.Errorf("hanging up a call that is over: %v", err)
		}
		if err := b.Talk(t.Context(), frameTime); !errors.Is(err, ErrEnded) {
			t.Errorf("talking on a call that is over: %v", err)
		}
		if err := b.Heard(t.Context(), 1); !errors.Is(err, ErrEnded) {
			t.Errorf("listening on a call that is over: %v", err)
		}
	}
}

func TestARejectionReachesTheCaller(t *testing.T) {
	for _, o := range []Options{{}, {Transport: "tcp"}} {
		a, b := open(t, o), open(t, o)
		for _, want := range []int{486, 603, 480} {
			b.OnCall(func(in *Incoming) {
				if want != 480 { // 480 is the answer of who does nothing
					in.Reject(want)
				}
			})
			_, err := a.Call(patient(t), "1", b.Address())
			if r, ok := errors.AsType[*Refused](err); !ok || r.Code != want {
				t.Errorf("%s: want a refusal with %d, have %v", o.Transport, want, err)
			}
		}
	}
}

func TestACallNobodyWaitsForIsCancelled(t *testing.T) {
	a, b := open(t, Options{}), open(t, Options{})
	ringing, cancelled := make(chan struct{}), make(chan error, 1)
	b.OnCall(func(in *Incoming) {
		in.Ring()
		close(ringing)
		<-in.Cancelled()
		_, err := in.Answer()
		cancelled <- err
	})
	ctx, stop := contextOf(t)
	go func() {
		<-ringing
		stop()
	}()
	if _, err := a.Call(ctx, "1", b.Address()); !errors.Is(err, context.Canceled) {
		t.Errorf("want the context's error, have %v", err)
	}
	if err := <-cancelled; !errors.Is(err, ErrEnded) {
		t.Errorf("answering a cancelled call: %v", err)
	}
}

func TestHoldSilencesBothAndResumeBringsThemBack(t *testing.T) {
	for _, o := range []Options{{}, {Transport: "tls", TLS: identity(t), SRTP: "AES_CM_128_HMAC_SHA1_80"}} {
		for _, caller := range []bool{true, false} {
			a, b := connect(t, open(t, o), open(t, o))
			if !caller {
				a, b = b, a
			}
			converse(t, a, b, 5)
			if err := a.Hold(patient(t)); err != nil {
				t.Fatal(err)
			}
			for _, c := range []*Call{a, b} {
				if err := c.Talk(t.Context(), 3*frameTime); err != nil {
					t.Error(err)
				}
				if sent := c.Report().Sent; sent != 5 {
					t.Errorf("on hold the phone sent %d packets", sent-5)
				}
			}
			if err := a.Resume(patient(t)); err != nil {
				t.Fatal(err)
			}
			converse(t, a, b, 5)
			for _, r := range []Report{a.Report(), b.Report()} {
				if r.Sent != 10 || r.Received != 10 || r.Corrupt+r.Lost != 0 {
					t.Errorf("%+v", r)
				}
			}
		}
	}
}

func TestPhonesThatDisagreeAboutSRTPDoNotTalk(t *testing.T) {
	secure := open(t, Options{SRTP: "AES_CM_128_HMAC_SHA1_80"})
	other := open(t, Options{SRTP: "AEAD_AES_256_GCM"})
	plain := open(t, Options{})
	for _, pair := range [][2]*Phone{{secure, plain}, {plain, secure}, {secure, other}} {
		pair[1].OnCall(func(in *Incoming) {
			if _, err := in.Answer(); err == nil {
				t.Error("answered")
			}
		})
		_, err := pair[0].Call(patient(t), "1", pair[1].Address())
		if r, ok := errors.AsType[*Refused](err); !ok || r.Code != 488 {
			t.Errorf("want 488, have %v", err)
		}
	}
}

func TestTheTraceShowsTheCallInOrder(t *testing.T) {
	var mu sync.Mutex
	var seen []string
	trace := func(m Message) {
		mu.Lock()
		defer mu.Unlock()
		seen = append(seen, m.Summary)
	}
	a := open(t, Options{Trace: trace})
	call, _ := connect(t, a, open(t, Options{}))
	if err := call.Hangup(patient(t)); err != nil {
		t.Error(err)
	}
	want := []string{"INVITE (SDP)", "100 Trying", "180 Ringing", "200 OK (SDP)", "ACK", "BYE", "200 OK to BYE"}
	mu.Lock()
	defer mu.Unlock()
	if !slices.Equal(seen, want) {
		t.Errorf("want %q\nhave %q", want, seen)
	}
}

func TestAPeerWithoutACertificateOfOursDoesNotCall(t *testing.T) {
	ours, theirs := identity(t), identity(t)
	b := open(t, Options{Transport: "tls", TLS: ours})
	b.OnCall(func(in *Incoming) { t.Error("a stranger's call came in") })
	theirs.RootCAs = ours.RootCAs // they believe us, we do not believe them
	ctx, stop := context.WithTimeout(t.Context(), 5*time.Second)
	defer stop()
	if _, err := open(t, Options{Transport: "tls", TLS: theirs}).Call(ctx, "1", b.Address()); err == nil {
		t.Error("a stranger's call was answered")
	}
}

func TestOpenRefusesWhatCannotWork(t *testing.T) {
	tests := []struct {
		o    Options
		want string
	}{
		{Options{Transport: "sctp"}, "transport"},
		{Options{Transport: "tls"}, "identity"},
		{Options{SRTP: "ROT13"}, "AES_CM_128_HMAC_SHA1_80"},
		{Options{Local: netip.IPv4Unspecified()}, "concrete"},
	}
	for _, tt := range tests {
		if _, err := Open(tt.o); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%+v: want an error that says %q, have %v", tt.o, tt.want, err)
		}
	}
}

func TestCloseEndsCallsAndCallers(t *testing.T) {
	a, b := open(t, Options{}), open(t, Options{})
	up, _ := connect(t, a, b)
	ringing := make(chan struct{})
	b.OnCall(func(in *Incoming) {
		close(ringing)
		<-in.Cancelled()
	})
	waiting := make(chan error, 1)
	go func() {
		_, err := a.Call(context.Background(), "2", b.Address())
		waiting <- err
	}()
	<-ringing
	a.Close()
	<-up.Done()
	if err := <-waiting; !errors.Is(err, net.ErrClosed) {
		t.Errorf("a call of a closed phone: %v", err)
	}
	if _, err := a.Call(t.Context(), "3", b.Address()); !errors.Is(err, net.ErrClosed) {
		t.Errorf("a call from a closed phone: %v", err)
	}
}

// identity is one for 127.0.0.1, and the roots that it chains to.
func identity(t *testing.T) *tls.Config {
	t.Helper()
	trust, err := authority.New(time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	ours, err := trust.Issue("phone.invalid", netip.AddrFrom4([4]byte{127, 0, 0, 1}))
	if err != nil {
		t.Fatal(err)
	}
	return &tls.Config{Certificates: []tls.Certificate{ours.TLS}, RootCAs: trust.Roots()}
}

func hasIPv6() bool {
	c, err := net.ListenUDP("udp6", &net.UDPAddr{IP: net.IPv6loopback})
	if err == nil {
		c.Close()
	}
	return err == nil
}
