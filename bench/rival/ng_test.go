package rival

import (
	"context"
	"errors"
	"net"
	"strings"
	"sync"
	"testing"
)

// server is an ng server whose answers the test decides: it returns the datagrams to send back.
func server(t *testing.T, answer func(cookie, body string) []string) *NG {
	t.Helper()
	s, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	go func() {
		buffer := make([]byte, maxDatagram)
		for {
			n, from, err := s.ReadFrom(buffer)
			if err != nil {
				return
			}
			cookie, body, _ := strings.Cut(string(buffer[:n]), " ")
			for _, a := range answer(cookie, body) {
				s.WriteTo([]byte(a), from)
			}
		}
	}()
	conn, err := net.Dial("udp", s.LocalAddr().String())
	if err != nil {
		t.Fatal(err)
	}
	c := NewNG(conn)
	t.Cleanup(func() { c.Close() })
	return c
}

func TestAnAnswerFindsItsRequest(t *testing.T) {
	c := server(t, func(cookie, body string) []string {
		v, err := Decode(body)
		if err != nil {
			t.Error(err)
		}
		id := v.(map[string]any)["call-id"].(string)
		return []string{cookie + " " + string(Encode(nil, map[string]any{"result": "ok", "sdp": id}))}
	})
	var all sync.WaitGroup
	for i := range 50 {
		all.Go(func() {
			id := strings.Repeat("x", i)
			if got, err := c.Call(t.Context(), "offer", map[string]any{"call-id": id}); err != nil || got["sdp"] != id {
				t.Errorf("%d: %v %v", i, got, err)
			}
		})
	}
	all.Wait()
}

func TestALostAnswerIsAskedForAgainWithTheSameCookie(t *testing.T) {
	var mu sync.Mutex // the server answers in a goroutine of its own
	var cookies []string
	c := server(t, func(cookie, body string) []string {
		mu.Lock()
		defer mu.Unlock()
		if cookies = append(cookies, cookie); len(cookies) < 3 {
			return nil
		}
		return []string{cookie + " d6:result4:ponge", cookie + " d6:result4:ponge"} // and the cache answers twice
	})
	if _, err := c.Call(t.Context(), "ping", nil); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Call(t.Context(), "ping", nil); err != nil {
		t.Fatal(err)
	}
	mu.Lock()
	defer mu.Unlock()
	if cookies[0] != cookies[1] || cookies[1] != cookies[2] || cookies[2] == cookies[3] {
		t.Errorf("cookies %q", cookies)
	}
}

func TestWhatIsNoAnswerIsPassedOver(t *testing.T) {
	c := server(t, func(cookie, body string) []string {
		return []string{"", "x", "other d6:result4:ponge", cookie + " 4:pong", cookie + " d6:", cookie + " d6:result4:ponge"}
	})
	if _, err := c.Call(t.Context(), "ping", nil); err != nil {
		t.Fatal(err)
	}
}

func TestARefusalIsAnErrorWithItsReason(t *testing.T) {
	c := server(t, func(cookie, body string) []string {
		return []string{cookie + " d6:result5:error12:error-reason15:Unknown call-ide"}
	})
	if _, err := c.Call(t.Context(), "answer", nil); err == nil || !strings.Contains(err.Error(), "Unknown call-id") {
		t.Fatal(err)
	}
}

func TestACallEndsWithItsContextOrItsClient(t *testing.T) {
	asked := make(chan struct{}, 2*tries)
	silent := func(string, string) []string { asked <- struct{}{}; return nil }
	c := server(t, silent)
	ctx, cancel := context.WithCancel(t.Context())
	go func() { <-asked; cancel() }()
	if _, err := c.Call(ctx, "ping", nil); !errors.Is(err, context.Canceled) {
		t.Errorf("context: %v", err)
	}
	c = server(t, silent)
	go func() { <-asked; c.Close() }()
	if _, err := c.Call(t.Context(), "ping", nil); !errors.Is(err, net.ErrClosed) {
		t.Errorf("client: %v", err)
	}
}

func FuzzParseAnswer(f *testing.F) {
	f.Add("a_1 d6:result4:ponge")
	f.Add("a_1 4:pong")
	f.Add(" d")
	f.Fuzz(func(t *testing.T, datagram string) {
		cookie, answer, err := parseAnswer(datagram)
		if err == nil && (answer == nil || strings.Contains(cookie, " ") || !strings.HasPrefix(datagram, cookie+" d")) {
			t.Fatalf("%q: cookie %q, answer %v", datagram, cookie, answer)
		}
	})
}
