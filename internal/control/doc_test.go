package control

import (
	"encoding/json"
	"os"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// manual is what a person reads who drives the socket by hand.
const manual = "../../docs/control.md"

func readManual(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile(manual)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestEveryFieldMethodEventAndCodeIsInTheManual(t *testing.T) {
	text := readManual(t)
	words := []string{
		MethodHello, MethodOpen, MethodUpdate, MethodClose, MethodGet, MethodList, MethodStats, MethodDrain,
		EventTimeout, EventPinned, EventContested, EventSSRC, EventExpiring,
	}
	for _, v := range []any{Hello{}, HelloResult{}, Network{}, Limits{}, Open{}, Update{}, Stream{}, Leg{}, Crypto{}, Payload{},
		SessionState{}, StreamState{}, LegState{}, Traffic{}, Quality{}, Ref{}, List{}, ListResult{}, Stats{}, Drain{}, DrainResult{}, Event{}} {
		for _, name := range shapeOf(reflect.TypeOf(v)).names() {
			words = append(words, "`"+name+"`")
		}
	}
	for _, w := range words {
		if !strings.Contains(text, w) && !strings.Contains(text, "[]."+strings.Trim(w, "`")) {
			t.Errorf("%s does not explain %s", manual, w)
		}
	}
	for _, code := range []int{CodeParse, CodeInvalid, CodeNoMethod, CodeParams, CodeInternal, CodeRefused, CodeNotFound, CodeExists,
		CodeStale, CodeNoPorts, CodeFull, CodeDraining, CodeUnsupported} {
		if !strings.Contains(text, "\n| "+strconv.Itoa(code)+" |") {
			t.Errorf("%s has no row for code %d", manual, code)
		}
	}
}

func TestTheManualsMessagesAreUnderstood(t *testing.T) {
	message := regexp.MustCompile(`\{"jsonrpc".*\}`)
	read := map[string]func(json.RawMessage) error{
		MethodHello: decodes[Hello], MethodOpen: decodes[Open], MethodUpdate: decodes[Update],
		MethodGet: decodes[Ref], MethodClose: decodes[Ref], EventTimeout: decodes[Event],
	}
	seen := 0
	for line := range strings.Lines(readManual(t)) {
		m := message.FindString(line)
		if m == "" {
			continue
		}
		seen++
		req, bad := parseRequest([]byte(m), nil)
		if bad != nil {
			t.Errorf("%v: %s", bad, m)
			continue
		}
		if f := read[req.method]; f == nil {
			t.Errorf("no such method: %s", m)
		} else if err := f(req.params); err != nil {
			t.Errorf("%v: %s", err, m)
		}
	}
	if seen < 7 {
		t.Errorf("found %d messages: the pattern misses them", seen)
	}
}

func decodes[T any](raw json.RawMessage) error {
	_, err := Decode[T](raw)
	return err
}
