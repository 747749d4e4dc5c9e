package guard

import (
	"errors"
	"fmt"
	"testing"

	"github.com/emiago/sipgo/sip"
)

func TestRequestsThatICMPEndsAreCounted(t *testing.T) {
	dead := nobodyAt(t, "127.0.0.1")
	s := serve(t, Options{Listeners: udpOnly()})
	for n := range uint64(3) {
		if err := asked(t, s, sip.OPTIONS, fmt.Sprint("dead", n), dead, ""); !errors.Is(err, ErrUnreachable) {
			t.Fatal(err)
		}
		if got := s.Stats().Unreachable; got != n+1 {
			t.Errorf("%d counted after %d", got, n+1)
		}
	}
}
