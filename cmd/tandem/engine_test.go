package main

import (
	"bytes"
	"errors"
	"log/slog"
	"strings"
	"testing"

	"tandem/relay/netio"
	"tandem/relay/netio/fake"
)

// stand returns an engine that opens, or does not for the given reason.
func stand(name string, refusal error) engine {
	return engine{name, func(netio.Options) (netio.Engine, error) {
		if refusal != nil {
			return nil, refusal
		}
		return fake.New(1), nil
	}}
}

func TestAutoTakesTheFirstEngineThatOpensAndSaysWhyNotABetterOne(t *testing.T) {
	for _, c := range []struct {
		name, asked string
		known       []engine
		want        string // in the log, or in the error
		fails       bool
	}{
		{"the best opens", "auto", []engine{stand("fast", nil), stand("plain", nil)}, "engine=fast asked=auto", false},
		{"the best lacks something", "auto", []engine{stand("fast", errors.New("CAP_BPF is missing")), stand("plain", nil)},
			`engine=fast reason="CAP_BPF is missing"`, false},
		{"the best lacks several things", "auto", []engine{stand("fast", errors.Join(errors.New("a"), errors.New("b"))), stand("plain", nil)},
			`engine=fast reason="a; b"`, false},
		{"none opens", "auto", []engine{stand("fast", errors.New("no kernel")), stand("plain", errors.New("no ports"))}, "no ports", true},
		{"a named one lacks something", "fast", []engine{stand("fast", errors.New("CAP_BPF is missing")), stand("plain", nil)},
			"CAP_BPF is missing", true},
		{"a name nobody knows", "warp", []engine{stand("fast", nil), stand("plain", nil)}, "use auto or one of fast, plain", true},
	} {
		t.Run(c.name, func(t *testing.T) {
			var log bytes.Buffer
			open, err := chooseEngine(c.asked, c.known, slog.New(slog.NewTextHandler(&log, nil)))
			if err == nil {
				_, err = open(netio.Options{})
			}
			said := log.String()
			if c.fails {
				if err == nil {
					t.Fatal("it opened")
				}
				said = err.Error()
			} else if err != nil {
				t.Fatal(err)
			}
			if !strings.Contains(said, c.want) {
				t.Errorf("said %q, want %q", said, c.want)
			}
		})
	}
}
