package guard

import (
	"errors"
	"slices"
	"testing"

	"github.com/emiago/sipgo/sip"
)

// heap is a link that keeps what is sent, or fails.
type heap struct {
	sent []string
	err  error
}

func (h *heap) send(b []byte) error {
	if h.err == nil {
		h.sent = append(h.sent, string(b))
	}
	return h.err
}

// served is a transaction of a request that just came, by UDP or TCP.
func served(t *testing.T, s *Stack, invite, udp bool) (*serverTx, *heap) {
	t.Helper()
	l, h := s.listeners["t"], &heap{}
	if udp {
		l = s.listeners["u"]
	}
	tx := &serverTx{l: l, back: h, invite: invite, in: &Inbound{}, key: t.Name()}
	s.servers.put(tx)
	t.Cleanup(tx.Terminate)
	return tx, h
}

func TestARetransmissionGetsTheLastResponseAgain(t *testing.T) {
	s := idle(t)
	for name, c := range map[string]struct {
		invite, udp bool
		codes       []int
		want        []string // what a retransmission after them gets
		kept        bool
	}{
		"nothing was said":               {true, true, nil, nil, true},
		"it rings":                       {true, true, []int{100, 180}, []string{"180"}, true},
		"a call that was answered":       {true, true, []int{180, 200}, nil, true},
		"a call that was refused":        {true, true, []int{180, 486}, []string{"486"}, true},
		"a refusal on a stream":          {true, false, []int{486}, []string{"486"}, true},
		"another request":                {false, true, []int{200}, []string{"200"}, true},
		"another request, by a stream":   {false, false, []int{200}, nil, false},
		"another request not yet closed": {false, false, []int{100}, []string{"100"}, true},
	} {
		t.Run(name, func(t *testing.T) {
			tx, h := served(t, s, c.invite, c.udp)
			for _, code := range c.codes {
				if err := tx.transmit(code, []byte(sip.NewResponse(code, "").StartLine()[8:11])); err != nil {
					t.Fatal(err)
				}
			}
			h.sent = nil
			if out := tx.repeat(); out != Absorbed || !slices.Equal(h.sent, c.want) {
				t.Errorf("%v: %q, want %q", out, h.sent, c.want)
			}
			if kept := s.servers.get([]byte(tx.key)) != nil; kept != c.kept {
				t.Errorf("kept: %v", kept)
			}
			if final := len(c.codes) > 0 && c.codes[len(c.codes)-1] >= 200; final != (tx.in == nil) {
				t.Error("the request lives as long as nobody answered, and no longer")
			}
		})
	}
}

func TestTheAckOfAFailureEndsItsRepetition(t *testing.T) {
	s := idle(t)
	for name, udp := range map[string]bool{"udp": true, "tcp": false} {
		t.Run(name, func(t *testing.T) {
			tx, h := served(t, s, true, udp)
			if err := tx.transmit(486, []byte("486")); err != nil {
				t.Fatal(err)
			}
			tx.mu.Lock()
			tx.confirm()
			tx.mu.Unlock()
			tx.repeat()
			if len(h.sent) != 1 || tx.failure != nil {
				t.Errorf("sent %q, and again %v", h.sent, tx.failure)
			}
			if kept := s.servers.get([]byte(tx.key)) != nil; kept != udp {
				t.Errorf("kept for strays: %v", kept)
			}
		})
	}
}

func TestOnlyAnAnsweredCallOutlivesAResponseThatCannotBeSent(t *testing.T) {
	s := idle(t)
	for name, c := range map[string]struct {
		code int
		kept bool
	}{"180": {180, false}, "200": {200, true}, "486": {486, false}} {
		t.Run(name, func(t *testing.T) {
			tx, h := served(t, s, true, true)
			h.err = errors.New("network is unreachable")
			if err := tx.transmit(c.code, []byte(name)); !errors.Is(err, ErrTransport) {
				t.Errorf("%v", err)
			}
			if kept := s.servers.get([]byte(tx.key)) != nil; kept != c.kept {
				t.Errorf("kept: %v", kept)
			}
		})
	}
}
