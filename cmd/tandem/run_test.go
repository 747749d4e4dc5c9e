package main

import (
	"bytes"
	"errors"
	"reflect"
	"strings"
	"testing"

	"tandem/internal/config"
	"tandem/internal/metrics"
)

func TestRunTellsAnotherTerminalWhereItsSocketsAre(t *testing.T) {
	var c runCmd
	cfg := config.Embedded()
	c.flags(cfg, "/tmp/tandem-1")
	var out bytes.Buffer
	invite(&out, cfg)
	for _, want := range []string{
		"\n  export TANDEM_SIP_SOCKET=/tmp/tandem-1/sip.sock TANDEM_SOCKET=/tmp/tandem-1/relay.sock\n", " top\n", " ctl call.list", "/metrics\n\nYour own",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in\n%s", want, &out)
		}
	}
	cfg.Metrics.SIP = metrics.Off
	out.Reset()
	invite(&out, cfg)
	if strings.Contains(out.String(), "curl") {
		t.Errorf("there are no metrics:\n%s", &out)
	}
}

func TestTheVariablesThatRunNamesAreThoseThatTopAndCtlRead(t *testing.T) {
	for name, env := range map[string]string{"SIP": envSIPSocket, "Relay": envRelaySocket} {
		f, ok := reflect.TypeFor[sockets]().FieldByName(name)
		if got := f.Tag.Get("env"); !ok || got != env {
			t.Errorf("%s is read from %q, run names %q", name, got, env)
		}
	}
}

func TestEveryMistakeIsALineOfItsOwn(t *testing.T) {
	for _, c := range []struct {
		err  error
		want string
		code int
	}{
		{errors.New("a"), "tandem: a\n", 1},
		{errors.Join(errors.New("a"), errors.New("b")), "tandem: a\ntandem: b\n", 1},
		{exit(2), "", 2},
	} {
		var out bytes.Buffer
		if code := complain(&out, c.err); code != c.code || out.String() != c.want {
			t.Errorf("%v: %d, %q, want %d, %q", c.err, code, &out, c.code, c.want)
		}
	}
}
