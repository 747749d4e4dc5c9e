package names

import (
	"bufio"
	"bytes"
	"cmp"
	"fmt"
	"io"
	"net/netip"
	"os"
	"strings"
	"sync"
)

// Bounds of the files of this machine.
const (
	serversMost = 8       // name servers: resolv.conf(5) itself knows three
	fileMost    = 1 << 20 // bytes read of a file: the rest of a larger one is not used
	portDNS     = 53
)

// file is a file of this machine in the form that is used of it. It is read again when it changes.
type file[T any] struct {
	mu    sync.Mutex
	seen  os.FileInfo // of the file that value was read from; nil: none was
	value T
}

// read is the file's content as it is now.
func (f *file[T]) read(path string, parse func([]byte) T) (T, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	var none T
	now, err := os.Stat(path)
	if err != nil {
		f.seen, f.value = nil, none
		return none, err
	}
	if f.seen != nil && os.SameFile(f.seen, now) && f.seen.ModTime().Equal(now.ModTime()) && f.seen.Size() == now.Size() {
		return f.value, nil
	}
	text, err := load(path)
	if err != nil {
		f.seen, f.value = nil, none
		return none, err
	}
	f.seen, f.value = now, parse(text)
	return f.value, nil
}

func load(path string) ([]byte, error) {
	in, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer in.Close()
	return io.ReadAll(io.LimitReader(in, fileMost))
}

// servers are those to ask, in their order.
func (c *Client) servers() ([]netip.AddrPort, error) {
	if len(c.Servers) > 0 {
		return c.Servers, nil
	}
	path := cmp.Or(c.ResolvConf, "/etc/resolv.conf")
	list, err := c.conf.read(path, readServers)
	if err != nil {
		return nil, fmt.Errorf("no name server is known: %w", err)
	}
	if len(list) == 0 {
		return nil, fmt.Errorf("no name server is known: %s has no line \"nameserver ADDRESS\"", path)
	}
	return list, nil
}

// readServers takes the name servers out of a resolv.conf.
func readServers(text []byte) (list []netip.AddrPort) {
	for lines := bufio.NewScanner(bytes.NewReader(text)); lines.Scan() && len(list) < serversMost; {
		words := strings.Fields(lines.Text())
		if len(words) < 2 || words[0] != "nameserver" {
			continue
		}
		if a, err := netip.ParseAddr(words[1]); err == nil {
			list = append(list, netip.AddrPortFrom(a, portDNS))
		}
	}
	return list
}

// Local are the addresses that the hosts file gives a host; none: it has no line for it.
func (c *Client) Local(host string) []netip.Addr {
	hosts, _ := c.hosts.read(cmp.Or(c.Hosts, "/etc/hosts"), readHosts) // without the file no name has a line in it
	return hosts[plain(host)]
}

// readHosts reads a hosts file: an address and its names a line, the rest of the line after # is a comment.
func readHosts(text []byte) map[string][]netip.Addr {
	hosts := make(map[string][]netip.Addr)
	for lines := bufio.NewScanner(bytes.NewReader(text)); lines.Scan(); {
		line, _, _ := strings.Cut(lines.Text(), "#")
		words := strings.Fields(line)
		if len(words) < 2 {
			continue
		}
		a, err := netip.ParseAddr(words[0])
		if err != nil {
			continue
		}
		for _, name := range words[1:] {
			hosts[plain(name)] = append(hosts[plain(name)], a.Unmap())
		}
	}
	return hosts
}
