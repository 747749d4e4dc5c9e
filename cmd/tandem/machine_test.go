package main

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"tandem/internal/config"
)

// loaded is a configuration of a text, and the file's path.
func loaded(t *testing.T, text string) (*config.Config, string) {
	t.Helper()
	file := written(t, text)
	cfg, err := config.Load(file)
	check(t, err)
	return cfg, file
}

// one is a valid file with one trunk, of an address for everything, a transport and a port.
const one = `media: {networks: {lan: {addresses: [%[1]s], ports: 40000-40099}}}
sip:
  listeners:
    lan: {transport: %[2]s, address: "%[1]s:%[3]d"}
trunks:
  gw: {listener: lan, peer: 198.51.100.1}
`

func TestCheckTellsWhatTheMachineLacks(t *testing.T) {
	here := t.TempDir()
	for _, c := range []struct{ name, text, want string }{
		{"an address, once", fmt.Sprintf(one, "203.0.113.201", "udp", 5060),
			"t.yaml:1: media.networks.lan.addresses[0]: 203.0.113.201: there is no such address; ip address lists"},
		{"nothing", fmt.Sprintf(one, "127.0.0.1", "udp", 5060), ""},
		{"more workers than processors", strings.Replace(fmt.Sprintf(one, "127.0.0.1", "udp", 5060), "media: {", "media: {workers: 255, ", 1),
			"t.yaml:1: media.workers: 255 workers share "},
		{"a password", strings.Replace(fmt.Sprintf(one, "127.0.0.1", "udp", 5060), "198.51.100.1}", "198.51.100.1, auth: {user: u, password_file: /nonexistent/p}}", 1),
			"t.yaml:6: trunks.gw.auth.password_file: stat /nonexistent/p: no such file or directory; write the password into the first line"},
		{"the directory of records and what is above it", fmt.Sprintf(one, "127.0.0.1", "udp", 5060) + "records: {file: " + here + "/a/b/calls.jsonl}\n",
			"t.yaml:7: records.file: " + here + "/a/b/calls.jsonl: neither its directory nor " + here + "/a is there; make the directory"},
		{"the directory of records, which a start makes", fmt.Sprintf(one, "127.0.0.1", "udp", 5060) + "records: {file: " + here + "/a/calls.jsonl}\n", ""},
		{"a group", fmt.Sprintf(one, "127.0.0.1", "udp", 5060) + "control: {group: td-nobody-has-it}\n",
			"control.group: td-nobody-has-it: there is no such group; make it (groupadd --system), or name another"},
		{"a user", fmt.Sprintf(one, "127.0.0.1", "udp", 5060) + "control: {users: [td-nobody-has-it]}\n",
			"control.users: td-nobody-has-it: there is no such user; make it (useradd --system), or name another"},
	} {
		t.Run(c.name, func(t *testing.T) {
			cfg, file := loaded(t, c.text)
			all := absent(cfg)
			var said []string
			for _, err := range all {
				said = append(said, strings.ReplaceAll(err.Error(), file, "t.yaml"))
			}
			if c.want == "" && len(all) > 0 || c.want != "" && (len(all) != 1 || !strings.HasPrefix(said[0], c.want)) {
				t.Errorf("said %q, want %q", said, c.want)
			}
		})
	}
}

func TestTheListenerOfAnotherNodeWantsNothingOfThisMachine(t *testing.T) {
	text := strings.Replace(fmt.Sprintf(one, "127.0.0.1", "udp", 5060), `address: "127.0.0.1:`, `node: far, address: "203.0.113.201:`, 1)
	cfg, err := config.LoadFor(written(t, text), config.AllNodes)
	check(t, err)
	if all := absentAddresses(cfg); len(all) > 0 {
		t.Errorf("%v", all)
	}
	cfg.Node = "far"
	if all := absentAddresses(cfg); len(all) != 1 {
		t.Errorf("on that node itself: %v", all)
	}
}

func TestEveryMissingFileOfAnIdentityIsNamedInOneRun(t *testing.T) {
	cfg, file := loaded(t, `media: {networks: {lan: {addresses: [127.0.0.1], ports: 40000-40099}}}
sip:
  fqdn: sbc.example.com
  listeners:
    a: {transport: tls, address: "127.0.0.1:5061", tls: {certificate: /none/a.pem, key: /none/a.key, ca: /none/ca.pem}}
    b: {transport: tls, address: "127.0.0.1:5062", tls: {certificate: /none/b.pem, key: /none/a.key}}
trunks:
  gw: {listener: a, peer: gw.example.com, tls: {ca: /none/gw.pem}}
`)
	want := []string{
		":5: sip.listeners.a.tls.certificate: stat /none/a.pem: ", ":5: sip.listeners.a.tls.key: stat /none/a.key: ", ":5: sip.listeners.a.tls.ca: stat /none/ca.pem: ",
		":6: sip.listeners.b.tls.certificate: stat /none/b.pem: ", ":8: trunks.gw.tls.ca: stat /none/gw.pem: ",
	}
	for who, all := range map[string][]error{"check": absent(cfg), "a start": {openFault(t, cfg)}} {
		lines := strings.Split(errors.Join(all...).Error(), "\n")
		if len(lines) != len(want) {
			t.Fatalf("%s: %q", who, lines)
		}
		for i, line := range lines {
			if !strings.HasPrefix(line, file+want[i]) || !strings.HasSuffix(line, "or correct the path") {
				t.Errorf("%s: %q, want %q", who, line, want[i])
			}
		}
	}
	other := errors.New("the key is not the certificate's")
	if all := allUnread(config.Embedded(), other); len(all) != 1 || all[0] != other {
		t.Errorf("where every file can be read: %v", all)
	}
}

// openFault is why the call plane does not start.
func openFault(t *testing.T, cfg *config.Config) error {
	t.Helper()
	cfg.SIP.Socket, cfg.Control.Socket = filepath.Join(t.TempDir(), "sip.sock"), filepath.Join(t.TempDir(), "relay.sock")
	cfg.Metrics.SIP = "off"
	p, err := openSIP(cfg, source{}, slog.New(slog.DiscardHandler))
	if err == nil {
		p.Close()
		t.Fatal("it started")
	}
	return err
}

func TestAListenerThatCannotBeBoundIsNamedOnceWithItsLineAndAdvice(t *testing.T) {
	udp, err := net.ListenPacket("udp", "127.0.0.1:0")
	check(t, err)
	defer udp.Close()
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	check(t, err)
	defer tcp.Close()
	for _, c := range []struct {
		name, text string
		errno      syscall.Errno
		advice     string
	}{
		{"no such address", fmt.Sprintf(one, "203.0.113.201", "udp", 5060), syscall.EADDRNOTAVAIL, addressAdvice},
		{"no such address, TCP", fmt.Sprintf(one, "203.0.113.201", "tcp", 5060), syscall.EADDRNOTAVAIL, addressAdvice},
		{"a port that is taken", fmt.Sprintf(one, "127.0.0.1", "udp", udp.LocalAddr().(*net.UDPAddr).Port), syscall.EADDRINUSE, portAdvice},
		{"a port that is taken, TCP", fmt.Sprintf(one, "127.0.0.1", "tcp", tcp.Addr().(*net.TCPAddr).Port), syscall.EADDRINUSE, portAdvice},
	} {
		t.Run(c.name, func(t *testing.T) {
			cfg, file := loaded(t, strings.Replace(c.text, "40000-40099", "1024-1027", 1))
			address := cfg.SIP.Listeners["lan"].Address.String()
			err := openFault(t, cfg)
			if want := fmt.Sprintf("%s:4: sip.listeners.lan.address: %s: %v; %s", file, address, c.errno, c.advice); err.Error() != want {
				t.Errorf("got  %v\nwant %s", err, want)
			}
			if !errors.Is(err, c.errno) {
				t.Errorf("the kernel's word is lost: %v", err)
			}
		})
	}
	if other := errors.New("x"); unboundListener(config.Embedded(), other) != other || unboundMetrics("metrics.sip", other) != other {
		t.Error("another error was changed")
	}
}

func TestMetricsThatCannotBeBoundSayHowToDoWithout(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	check(t, err)
	defer taken.Close()
	_, err = net.Listen("tcp", taken.Addr().String())
	want := fmt.Sprintf("metrics.relay: %s: address already in use; %s; or do without: --metrics=off", taken.Addr(), portAdvice)
	if got := unboundMetrics("metrics.relay", err); got.Error() != want {
		t.Errorf("got  %v\nwant %s", got, want)
	}
}

func TestARelayWithoutItsAddressesSaysSoAndStarts(t *testing.T) {
	for _, c := range []struct {
		name, addresses string
		warned          int
		failed          bool
	}{
		{"all there", "127.0.0.1", 0, false},
		{"one lacks", "127.0.0.1, 203.0.113.201", 1, false},
		{"all lack", "203.0.113.201, 203.0.113.202", 2, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			cfg, _ := loaded(t, "media: {networks: {lan: {addresses: ["+c.addresses+"], ports: 40000-40099}}}\n")
			var log bytes.Buffer
			tellAbsentMedia(cfg, slog.New(slog.NewTextHandler(&log, nil)))
			text := log.String()
			if strings.Count(text, "level=WARN") != c.warned || strings.Contains(text, "level=ERROR") != c.failed {
				t.Errorf("%s", text)
			}
			if c.warned > 0 && !strings.Contains(text, "tandem.yaml:1: media.networks.lan.addresses[") {
				t.Errorf("no place: %s", text)
			}
		})
	}
}

func TestTheDirectoryOfRecordsIsMadeIfTheOneAboveIsThere(t *testing.T) {
	for _, c := range []struct {
		name, file string
		made       bool
	}{{"it is there", "calls.jsonl", true}, {"the one above is", "tandem/calls.jsonl", true}, {"nothing is", "log/tandem/calls.jsonl", false}} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			cfg, file := loaded(t, fmt.Sprintf(one, "127.0.0.1", "udp", 5060)+"records: {file: "+filepath.Join(dir, c.file)+"}\n")
			w, err := openRecords(cfg, slog.New(slog.DiscardHandler))
			if !c.made {
				want := fmt.Sprintf("%s:7: records.file: open %s: no such file or directory; %s", file, filepath.Join(dir, c.file), recordsAdvice)
				if err == nil || err.Error() != want || !errors.Is(err, fs.ErrNotExist) {
					t.Errorf("got  %v\nwant %s", err, want)
				}
				return
			}
			check(t, err)
			check(t, w.Close(t.Context()))
			info, err := os.Stat(filepath.Dir(filepath.Join(dir, c.file)))
			check(t, err)
			if c.file != "calls.jsonl" && info.Mode().Perm() != directoryMode {
				t.Errorf("the directory has %s", info.Mode())
			}
		})
	}
}

func TestCheckWantsNothingOfThisMachineThatIsAnotherNodes(t *testing.T) {
	file := written(t, `node: here
media:
  networks:
    lan: {addresses: [127.0.0.1], ports: 40000-40099}
    far: {addresses: [203.0.113.201], ports: 40000-40099}
sip:
  listeners:
    lan: {node: here, transport: udp, address: "127.0.0.1:5060"}
    far: {node: there, transport: udp, address: "203.0.113.201:5060"}
trunks:
  gw: {listener: lan, peer: 198.51.100.1, network: lan}
  uc: {listener: far, peer: 198.51.100.2, network: far, auth: {user: u, password_file: /nonexistent/p}}
`)
	for _, c := range []struct {
		node string
		want int // lines of "on this machine"
	}{{"", 0}, {"here", 0}, {"there", 2}} {
		var out, told bytes.Buffer
		check(t, (&checkCmd{Config: file, Node: c.node}).Run(streams{out: &out, err: &told}))
		if n := strings.Count(told.String(), "on this machine"); n != c.want {
			t.Errorf("node %q: %s", c.node, &told)
		}
	}
}

func TestAFileThatIsGoneIsNotWhyAnotherIsWrong(t *testing.T) {
	files := `5061", tls: {certificate: /nonexistent/c.pem, key: /nonexistent/k.pem, ca: /nonexistent/ca.pem}}`
	cfg, _ := loaded(t, strings.Replace(fmt.Sprintf(one, "127.0.0.1", "tls", 5061), `5061"}`, files, 1))
	garbage := errors.New("no certificate in PEM form")
	if all := allUnread(cfg, garbage); len(all) != 1 || all[0] != garbage {
		t.Errorf("%v", all)
	}
	if all := allUnread(cfg, fmt.Errorf("open: %w", fs.ErrNotExist)); len(all) != 3 {
		t.Errorf("%v", all)
	}
}
