package names

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestServersAreReadAgainWhenTheFileChanges(t *testing.T) {
	c := &Client{ResolvConf: written(t, "resolv.conf", "search example.com\nnameserver 192.0.2.53\nnameserver 2001:db8::53 # second\n")}
	servers := func() string { list, err := c.servers(); return fmt.Sprint(list, err) }
	if got, want := servers(), "[192.0.2.53:53 [2001:db8::53]:53] <nil>"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	if err := os.WriteFile(c.ResolvConf, []byte("nameserver 198.51.100.53\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got, want := servers(), "[198.51.100.53:53] <nil>"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

func TestFileOfTheSameSizeIsReadAgainByItsTime(t *testing.T) {
	c := &Client{Hosts: written(t, "hosts", "192.0.2.1 gw\n")}
	c.Local("gw")
	if err := os.WriteFile(c.Hosts, []byte("192.0.2.2 gw\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	later := time.Now().Add(time.Hour)
	if err := os.Chtimes(c.Hosts, later, later); err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprint(c.Local("gw")); got != "[192.0.2.2]" {
		t.Errorf("%s", got)
	}
}

func TestMachineWithoutServersSaysWhichFileNamesNone(t *testing.T) {
	c := &Client{ResolvConf: written(t, "resolv.conf", "nameserver\nnameserver here\n"), Hosts: "/nowhere"}
	_, _, err := c.Services(context.Background(), "_sip._udp.example.net")
	want := `SRV of _sip._udp.example.net: no name server is known: ` + c.ResolvConf + ` has no line "nameserver ADDRESS"`
	if err == nil || err.Error() != want || errors.Is(err, ErrNone) {
		t.Errorf("%v, want %s", err, want)
	}
	c.ResolvConf = "/nowhere"
	if _, _, err = c.Services(context.Background(), "_sip._udp.example.net"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%v", err)
	}
}

func TestServersAreNoMoreThanCanBeAskedInTime(t *testing.T) {
	if list := readServers([]byte(strings.Repeat("nameserver 192.0.2.53\n", 100))); len(list) != serversMost {
		t.Errorf("%d servers", len(list))
	}
}

// FuzzHosts checks that whatever a hosts file holds, each of its names is found under its plain form, and only with
// addresses that were parsed.
func FuzzHosts(f *testing.F) {
	f.Add([]byte("127.0.0.1 localhost\n::1 LOCALHOST. ip6 # both\n# 1.2.3.4 no\nx y\n1.2.3.4\n"))
	f.Add([]byte("::ffff:1.2.3.4 a\r\n\x00 b"))
	f.Fuzz(func(t *testing.T, text []byte) {
		for name, addrs := range readHosts(text) {
			if name != plain(name) && plain(name) != plain(plain(name)+".") || len(addrs) == 0 {
				t.Fatalf("%q: %v", name, addrs)
			}
			for _, a := range addrs {
				if !a.IsValid() || a.Is4In6() {
					t.Fatalf("%q: %v", name, a)
				}
			}
		}
		if slices.ContainsFunc(readServers(text), func(a netip.AddrPort) bool { return !a.IsValid() || a.Port() != portDNS }) {
			t.Fatal("a server that is none")
		}
	})
}
