package topology

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"slices"
	"sync"
	"time"

	"tandem/internal/phone"
)

// phoneVariable in the environment makes a process of this binary a phone: a peer with TLS and SRTP, which sipp has not,
// that hears whether every packet is what the other phone said. It takes orders, one JSON object a line, on standard input.
const phoneVariable = "TANDEM_TOPOLOGY_PHONE"

// order is what a phone is told. Each is answered, in its own time, under its number.
type order struct {
	Number int    `json:"number"`
	Do     string `json:"do"` // open, dial, talk, hangup, who

	Local netip.AddrPort `json:"local"` // open: its SIP address
	CA    string         `json:"ca"`    // and files
	Cert  string         `json:"cert"`
	Key   string         `json:"key"`
	Codes []int          `json:"codes"` // instead of an answer, of the first calls that come in

	Called string         `json:"called"` // dial
	To     netip.AddrPort `json:"to"`

	Count int  `json:"count"` // dial: so many; talk, hangup: wait until there are so many, as an answered call is one with its ACK
	MS    int  `json:"ms"`    // talk: all calls, each so long
	Other bool `json:"other"` // the far end is no phone: what it says is not judged
}

// reply is what comes of it.
type reply struct {
	Number int      `json:"number"`
	Error  string   `json:"error,omitempty"`
	Code   int      `json:"code,omitempty"`  // dial: of the first refusal
	IDs    []string `json:"ids,omitempty"`   // dial: Call-IDs of the calls that were answered
	Calls  int      `json:"calls,omitempty"` // talk, hangup: that were up
	Shown  []string `json:"shown,omitempty"` // who: serial numbers of the certificates that peers showed, a handshake each
}

// set is a phone and its calls.
type set struct {
	phone *phone.Phone

	mu    sync.Mutex
	calls []*phone.Call
	shown []string
	codes []int
}

// servePhone obeys until its input ends.
func servePhone(in io.Reader, out io.Writer) int {
	s := &set{}
	var writing sync.Mutex
	orders := json.NewDecoder(in)
	for {
		var o order
		if err := orders.Decode(&o); errors.Is(err, io.EOF) {
			return 0
		} else if err != nil {
			fmt.Fprintln(os.Stderr, "phone:", err)
			return 1
		}
		go func() {
			r, err := s.obey(o)
			if r.Number = o.Number; err != nil {
				r.Error = err.Error()
			}
			writing.Lock()
			defer writing.Unlock()
			json.NewEncoder(out).Encode(r)
		}()
	}
}

func (s *set) obey(o order) (reply, error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	switch o.Do {
	case "open":
		return reply{}, s.open(o)
	case "dial":
		return s.dial(ctx, o)
	case "talk":
		return s.each(ctx, o.Count, func(c *phone.Call) error {
			return talk(ctx, c, time.Duration(o.MS)*time.Millisecond, o.Other)
		})
	case "hangup":
		return s.each(ctx, o.Count, func(c *phone.Call) error { return c.Hangup(ctx) })
	case "who":
		s.mu.Lock()
		defer s.mu.Unlock()
		return reply{Shown: append([]string{}, s.shown...)}, nil
	}
	return reply{}, fmt.Errorf("what is %q?", o.Do)
}

// open is a phone on TLS with SRTP that answers every call.
func (s *set) open(o order) (err error) {
	identity, err := tls.LoadX509KeyPair(o.Cert, o.Key)
	if err != nil {
		return err
	}
	authority, err := os.ReadFile(o.CA)
	if err != nil {
		return err
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(authority)
	s.codes = o.Codes
	s.phone, err = phone.Open(phone.Options{
		User: "sbc", Transport: "tls", Local: o.Local.Addr(), Port: int(o.Local.Port()), SRTP: "AES_CM_128_HMAC_SHA1_80",
		TLS: &tls.Config{Certificates: []tls.Certificate{identity}, RootCAs: roots, VerifyConnection: s.meet},
	})
	if err == nil {
		s.phone.OnCall(s.called)
	}
	return err
}

// meet notes whom a handshake showed.
func (s *set) meet(c tls.ConnectionState) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.shown = append(s.shown, c.PeerCertificates[0].SerialNumber.String())
	return nil
}

// called takes a call that comes in.
func (s *set) called(in *phone.Incoming) {
	s.mu.Lock()
	code := 0
	if len(s.codes) > 0 {
		code, s.codes = s.codes[0], s.codes[1:]
	}
	s.mu.Unlock()
	if code != 0 {
		in.Reject(code)
		return
	}
	if in.Ring() != nil {
		return
	}
	if c, err := in.Answer(); err == nil {
		s.add(c)
	} else {
		fmt.Fprintln(os.Stderr, "phone: answer:", err)
	}
}

func (s *set) add(c *phone.Call) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls = append(s.calls, c)
}

// dial places calls one after the other, until one is refused.
func (s *set) dial(ctx context.Context, o order) (r reply, err error) {
	for range max(1, o.Count) {
		c, err := s.phone.Call(ctx, o.Called, o.To)
		if no, is := errors.AsType[*phone.Refused](err); is {
			r.Code = no.Code
			return r, nil
		}
		if err != nil {
			return r, err
		}
		s.add(c)
		r.IDs = append(r.IDs, c.ID())
	}
	return r, nil
}

// up are the calls that are not over.
func (s *set) up() []*phone.Call {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls = slices.DeleteFunc(s.calls, func(c *phone.Call) bool {
		select {
		case <-c.Done():
			return true
		default:
			return false
		}
	})
	return slices.Clone(s.calls)
}

// each does something with all calls at once, as soon as there are so many.
func (s *set) each(ctx context.Context, least int, do func(*phone.Call) error) (r reply, err error) {
	up := s.up()
	for ; len(up) < least; up = s.up() {
		select {
		case <-time.After(glance):
		case <-ctx.Done():
			return r, fmt.Errorf("%d calls are up, not %d: %w", len(up), least, ctx.Err())
		}
	}
	errs := make([]error, len(up))
	var all sync.WaitGroup
	for i, c := range up {
		all.Go(func() { errs[i] = do(c) })
	}
	all.Wait()
	return reply{Calls: len(up)}, errors.Join(errs...)
}

// talk says something, and wants to have heard as much in all by the end: every packet of the other phone unharmed, and
// none else. Both phones are told to talk at about the same time.
func talk(ctx context.Context, c *phone.Call, d time.Duration, other bool) error {
	if err := c.Talk(ctx, d); err != nil || other {
		return err
	}
	if err := c.Heard(ctx, c.Report().Sent); err != nil {
		return err
	}
	if r := c.Report(); r.Corrupt != 0 || r.Lost != 0 {
		return fmt.Errorf("call %s: %d packets corrupt, %d lost", c.ID(), r.Corrupt, r.Lost)
	}
	return nil
}
