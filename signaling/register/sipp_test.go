package register

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"tandem/internal/config"
	"tandem/signaling/guard"
	"tandem/signaling/trunk"
)

// registrar is sipp's part: a challenge, a 423, a short grant, a renewal without a new challenge, the farewell.
const registrar = `<?xml version="1.0" encoding="ISO-8859-1"?>
<scenario name="registrar">
  <recv request="REGISTER"/>
  ` + challenged + `
  ` + proven + `
  ` + sippReply + `423 Interval Too Brief` + headers + `Min-Expires: 4000` + end + `
  ` + proven + `
  ` + granted + `
  ` + proven + `
  ` + granted + `
  ` + proven + `
  ` + sippReply + `200 OK` + headers + `Expires: 0` + end + `
</scenario>`

const (
	sippReply  = "<send><![CDATA[\n\nSIP/2.0 "
	headers    = "\n[last_Via:]\n[last_From:]\n[last_To:];tag=[call_number]\n[last_Call-ID:]\n[last_CSeq:]\n"
	end        = "\nContent-Length: 0\n\n]]></send>"
	challenged = sippReply + "401 Unauthorized" + headers + `WWW-Authenticate: Digest realm="sipp", nonce="47ebe028cda119c35d4877b383027d28da013815", algorithm=MD5, qop="auth"` + end
	granted    = sippReply + "200 OK" + headers + "[last_Contact:];expires=10" + end
	proven     = `<recv request="REGISTER"><action><verifyauth assign_to="ok" username="alice" password="open sesame"/></action></recv>
  <nop hide="true" condexec="ok" condexec_inverse="true"><action><error message="the answer to the challenge is wrong"/></action></nop>`
)

// need leaves a test out where a program is not installed.
func need(t *testing.T, program, pkg string) {
	t.Helper()
	if _, err := exec.LookPath(program); err == nil {
		return
	}
	if os.Getenv("STRICT") == "1" {
		t.Fatalf("%s is not installed (Debian package %s)", program, pkg)
	}
	t.Skipf("%s is not installed (Debian package %s)", program, pkg)
}

// freePort is a UDP port of loopback that nobody has.
func freePort(t *testing.T) int {
	t.Helper()
	c, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	return c.LocalAddr().(*net.UDPAddr).Port
}

// heard waits until somebody has a UDP port of loopback: a REGISTER before that would be told by ICMP that nobody is there. It
// looks into the kernel's table, since a socket of its own could take the port away from who is about to have it.
func heard(t *testing.T, port int) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
		table, err := os.ReadFile("/proc/net/udp")
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Contains(table, fmt.Appendf(nil, ": 0100007F:%04X ", port)) {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("nobody listens on port %d", port)
		}
	}
}

func TestSippsRegistrarIsSatisfiedInRealTime(t *testing.T) {
	need(t, "sipp", "sip-tester")
	dir, port := t.TempDir(), freePort(t)
	scenario := filepath.Join(dir, "registrar.xml")
	if err := os.WriteFile(scenario, []byte(registrar), 0o600); err != nil {
		t.Fatal(err)
	}
	var said bytes.Buffer
	sipp := exec.Command("sipp", "-sf", scenario, "-i", "127.0.0.1", "-p", strconv.Itoa(port), "-m", "1", "-nostdin",
		"-timeout", "30", "-timeout_error", "-trace_err", "-error_file", filepath.Join(dir, "errors"))
	sipp.Dir, sipp.Stdout, sipp.Stderr = dir, &said, &said
	if err := sipp.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- sipp.Wait() }()
	t.Cleanup(func() { sipp.Process.Kill() })
	heard(t, port)

	listen := netip.MustParseAddrPort("127.0.0.1:0")
	stack, err := guard.Open(context.Background(), guard.Options{
		Listeners: []guard.Listener{{Name: "out", Transport: "udp", Addr: listen}}, Handler: func(*guard.Inbound) {}, Log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	go stack.Serve(context.Background())
	t.Cleanup(func() { stack.Close() })
	table, err := trunk.New(&config.Config{
		SIP: config.SIP{Listeners: map[string]config.Listener{"out": {Transport: "udp", Address: netip.MustParseAddrPort("127.0.0.1:5060")}}},
		Trunks: map[string]config.Trunk{"provider": {Listener: "out", Peer: fmt.Sprint("127.0.0.1:", port),
			Auth: &config.Auth{User: "alice", Password: "open sesame"}, Register: &config.Register{User: "4312", Expires: time.Hour}}},
	}, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	r := Start(Options{Stack: stack, Trunks: table, Log: slog.New(slog.DiscardHandler)})
	var until []time.Time
	for len(until) < 2 {
		if s := r.Status()[0]; s.Registered && (len(until) == 0 || s.Until != until[0]) {
			until = append(until, s.Until)
		}
		select {
		case err := <-ended:
			errors, _ := os.ReadFile(filepath.Join(dir, "errors"))
			t.Fatalf("sipp ended before: %v\n%s%s", err, errors, said.String()[max(0, said.Len()-2000):])
		case <-time.After(5 * time.Millisecond):
		}
	}
	if err := r.Close(context.Background()); err != nil {
		t.Error(err)
	}
	if err := await(t, ended, "the end of sipp"); err != nil {
		errors, _ := os.ReadFile(filepath.Join(dir, "errors"))
		t.Errorf("sipp: %v\n%s", err, errors)
	}
}
