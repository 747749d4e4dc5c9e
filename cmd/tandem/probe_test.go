package main

import (
	"bytes"
	"errors"
	"math"
	"strings"
	"testing"

	"tandem/internal/config"
	"tandem/relay/netio"
	"tandem/relay/netio/fake"
)

func TestProbeTellsWhatEachEngineWouldDoAndWhatAutoTakes(t *testing.T) {
	cfg := config.Embedded()
	for _, c := range []struct {
		name  string
		known []engine
		want  []string
		fails bool
	}{
		{"the best works", []engine{stand("fast", nil), stand("plain", nil)}, []string{"fast       works", "plain      works", "auto       takes fast"}, false},
		{"the best lacks something", []engine{stand("fast", errors.Join(errors.New("CAP_BPF is missing"), errors.New("on b too"))), stand("plain", nil)},
			[]string{"fast       no: CAP_BPF is missing; on b too\n", "auto       takes plain", "addresses  127.0.0.1"}, false},
		{"the best only by name", []engine{{"fast", func(o netio.Options) (netio.Engine, error) {
			if o.XDP.Native {
				return nil, errors.New("a virtual device")
			}
			return fake.New(1), nil
		}}, stand("plain", nil)}, []string{"fast       works", "but auto leaves it: a virtual device", "auto       takes plain"}, false},
		{"none works", []engine{stand("fast", errors.New("nothing"))}, []string{"fast       no: nothing"}, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			var out bytes.Buffer
			if err := probe(&out, cfg, c.known); (err != nil) != c.fails {
				t.Fatalf("error %v", err)
			}
			for _, want := range c.want {
				if !strings.Contains(out.String(), want) {
					t.Errorf("no %q in\n%s", want, &out)
				}
			}
		})
	}
}

func TestProbeAsksForFilesOnlyWhereEachPortNeedsOne(t *testing.T) {
	for _, c := range []struct {
		engine, asked string
		sessions      int
		advised       bool
	}{
		{config.EngineSockets, config.EngineAuto, math.MaxInt32, true},
		{config.EngineSockets, config.EngineAuto, 1, false},
		{config.EngineFunnel, config.EngineAuto, math.MaxInt32, false},
		{config.EngineFunnel, config.EngineSockets, math.MaxInt32, true},
	} {
		cfg := config.Embedded()
		cfg.Media.Engine, cfg.Media.Sessions = c.asked, c.sessions
		var out bytes.Buffer
		check(t, probe(&out, cfg, []engine{stand(c.engine, nil)}))
		if strings.Contains(out.String(), "LimitNOFILE") != c.advised {
			t.Errorf("%+v:\n%s", c, &out)
		}
	}
}
