package config

import (
	"cmp"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"tandem/internal/near"
)

// Bounds of names and sizes.
const (
	maxNode    = 32                    // bytes of a node name: it begins every local tag, and tags travel in every message
	maxSocket  = 107                   // bytes of a Unix socket's path (sockaddr_un.sun_path has 108 with the final zero, unix(7))
	maxWorkers = 255                   // more than any machine has CPUs to spare; a byte names a port's worker
	maxAny     = 1_000_000             // sessions, calls, connections, messages a second: beyond any one node
	firstPort  = 1024                  // below are the ports of services
	maxDSCP    = 63                    // six bits (RFC 2474)
	minBuffer  = 4 << 10               // the least that holds a few packets with the kernel's overhead
	maxBuffer  = 1 << 30               // the kernel doubles it, and counts it in an int
	minPoll    = 20 * time.Microsecond // what a timer costs
	maxPoll    = 10 * time.Millisecond // half of the time between two packets of a call
	minRecords = 64 << 10              // bytes of a file of records: some dozens of calls
	maxRecords = 2_000_000_000
	maxKept    = 1000 // full files of records
)

var (
	nodeName   = regexp.MustCompile(`^[A-Za-z0-9-]{1,` + strconv.Itoa(maxNode) + `}$`)
	octal      = regexp.MustCompile(`^0?[0-7]{3}$`)
	entryName  = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$`)
	hostName   = regexp.MustCompile(`^([A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?\.)*[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.?$`)
	headerText = regexp.MustCompile(`^[ -~]{1,128}$`)
)

// check holds every value against its bounds and every reference against what it names.
func (c *Config) check(d *document) {
	d.match("node", c.Node, nodeName, fmt.Sprintf("use 1 to %d letters, digits and dashes", maxNode))
	d.oneOf("log.level", c.Log.Level, "debug", "info", "warn", "error")
	d.oneOf("log.format", c.Log.Format, "text", "json")
	c.Control.check(d)
	c.Metrics.check(d)
	c.Media.check(d)
	c.SIP.check(d, &c.Media)
	if c.SIP.Socket == c.Control.Socket {
		path := "sip.socket"
		if !d.has(path) {
			path = "control.socket" // it took the other's default
		}
		d.fail(path, "the two planes would have one socket", "give each its own")
	}
	c.Records.check(d)
	c.checkScopes(d)
	c.checkProfiles(d)
	c.checkTrunks(d)
	c.checkGroups(d)
	c.checkDialPlans(d)
	c.checkRoutes(d)
}

func (r *Records) check(d *document) {
	if d.has("records.file") && !strings.HasPrefix(r.File, "/") {
		d.fail("records.file", "is not an absolute path", "begin it with /")
	}
	if r.File != "" || d.has("records.size") {
		d.between("records.size", r.Size, minRecords, maxRecords)
	}
	if r.File != "" || d.has("records.keep") {
		d.between("records.keep", r.Keep, 1, maxKept)
	}
}

// checkScopes checks the policies that are not a trunk's own.
func (c *Config) checkScopes(d *document) {
	c.checkPolicy(d, "policy", &c.Policy)
	for _, name := range d.inFileOrder("sites", slices.Collect(maps.Keys(c.Sites))) {
		s := c.Sites[name]
		c.checkPolicy(d, "sites."+name+".policy", &s.Policy)
	}
}

func (c *Control) check(d *document) {
	d.socket("control.socket", c.Socket)
	d.match("control.mode", c.Mode, octal, `write three octal digits, as "0660"`)
	if d.has("control.group") && c.Group == "" {
		d.fail("control.group", "is empty", "name a group or remove the key")
	}
	for i, name := range c.Users {
		if name == "" {
			d.fail(fmt.Sprintf("control.users[%d]", i), "is empty", "name a user or remove it")
		}
	}
	for i, name := range c.Groups {
		if name == "" {
			d.fail(fmt.Sprintf("control.groups[%d]", i), "is empty", "name a group or remove it")
		}
	}
}

// socket wants the path of a Unix socket.
func (d *document) socket(path, value string) {
	switch {
	case !strings.HasPrefix(value, "/"):
		d.fail(path, "is not an absolute path", "begin it with /")
	case len(value) > maxSocket:
		d.fail(path, fmt.Sprintf("is longer than %d bytes, the kernel's limit", maxSocket), "choose a shorter path")
	case strings.ContainsRune(value, 0):
		d.fail(path, "holds a zero byte", "remove it")
	}
}

func (m *Metrics) check(d *document) {
	for path, addr := range map[string]string{"metrics.relay": m.Relay, "metrics.sip": m.SIP} {
		host, port, err := net.SplitHostPort(addr)
		_, badIP := netip.ParseAddr(host)
		_, badPort := strconv.ParseUint(port, 10, 16)
		if addr != MetricsOff && (err != nil || badPort != nil || host != "" && badIP != nil) {
			d.fail(path, "is no listening address", "write it as 127.0.0.1:9640, or off")
		}
	}
	if m.Relay == m.SIP && m.Relay != MetricsOff {
		path := "metrics.sip"
		if !d.has(path) {
			path = "metrics.relay" // it took the other's default
		}
		d.fail(path, "the relay and sip endpoints have the same address", "give each its own port, or off")
	}
}

func (m *Media) check(d *document) {
	d.oneOf("media.engine", m.Engine, EngineAuto, EngineSockets, EngineFunnel, EngineXDP)
	if m.Buffer != 0 {
		d.between("media.receive_buffer", m.Buffer, minBuffer, maxBuffer)
	}
	if m.Poll != 0 {
		d.within("media.poll", m.Poll, minPoll, maxPoll)
	}
	d.between("media.workers", m.Workers, 1, maxWorkers)
	d.between("media.sessions", m.Sessions, 1, maxAny)
	if len(m.Networks) == 0 && !d.wrong["media.networks"] && !d.wrong["media"] {
		d.fail("media.networks", "names no network", "give at least one name with addresses and ports: media has to go somewhere")
	}
	for _, name := range d.inFileOrder("media.networks", slices.Collect(maps.Keys(m.Networks))) {
		n := m.Networks[name]
		n.check(d, "media.networks."+name)
	}
	m.checkOverlap(d)
	d.within("media.timeouts.initial", m.Timeouts.Initial, time.Second, time.Hour)
	d.within("media.timeouts.running", m.Timeouts.Running, time.Second, 24*time.Hour)
	d.within("media.timeouts.orphan", m.Timeouts.Orphan, time.Second, 24*time.Hour)
	d.within("media.ports.never", m.Ports.Never, time.Second, time.Hour)
	d.within("media.ports.prefer", m.Ports.Prefer, time.Second, time.Hour)
	if m.Ports.Prefer < m.Ports.Never {
		path := "media.ports.prefer"
		if !d.has(path) {
			path = "media.ports.never"
		}
		d.fail(path, fmt.Sprintf("ports would rest %s by preference but %s in need", m.Ports.Prefer, m.Ports.Never),
			"make prefer at least as long as never")
	}
}

func (n *Network) check(d *document, path string) {
	if len(n.Addresses) == 0 {
		d.fail(path+".addresses", "names no address", "write at least one, as [192.0.2.1]")
	}
	for i, a := range n.Addresses {
		item := fmt.Sprintf("%s.addresses[%d]", path, i)
		d.concrete(item, a)
		if slices.Contains(n.Addresses[:i], a) {
			d.fail(item, "stands in this list already", "remove one of the two")
		}
	}
	if !d.has(path + ".ports") {
		d.missing(path+".ports", "give the range of UDP ports for media, as 40000-49999")
	} else {
		n.Ports.check(d, path+".ports")
	}
	if d.has(path + ".advertise") {
		n.checkAdvertise(d, path+".advertise")
	}
	d.between(path+".dscp", *n.DSCP, 0, maxDSCP)
	d.oneOf(path+".send", n.Send, SendAuto, SendUDP)
}

// check wants whole pairs: RTP takes the even port and RTCP the odd one above it (RFC 3550 section 11).
func (p PortRange) check(d *document, path string) {
	switch {
	case p.Low > p.High:
		d.fail(path, "is empty", fmt.Sprintf("write the lower port first: %d-%d", p.High, p.Low))
	case p.Low < firstPort:
		d.fail(path, "begins among the ports of services", fmt.Sprintf("begin at %d or above", firstPort))
	case p.Low%2 != 0:
		d.fail(path, "begins with an odd port, RTP takes the even one of a pair", fmt.Sprintf("write %d-%d", p.Low+1, p.High))
	case p.High%2 == 0:
		d.fail(path, "ends with an even port, whose RTCP would lie outside", fmt.Sprintf("write %d-%d", p.Low, p.High+1))
	}
}

// checkAdvertise wants one local address behind the advertised one: two would share its ports.
func (n *Network) checkAdvertise(d *document, path string) {
	d.concrete(path, n.Advertise)
	same := 0
	for _, a := range n.Addresses {
		if a.Is4() == n.Advertise.Is4() {
			same++
		}
	}
	switch {
	case !n.Advertise.IsValid() || len(n.Addresses) == 0:
	case same == 0:
		d.fail(path, "is of another family than the addresses of this network", "advertise an address of their family")
	case same > 1:
		d.fail(path, fmt.Sprintf("stands for %d addresses, whose ports would collide behind it", same),
			"make a network for each address")
	}
}

// checkOverlap wants each port of an address in one network only.
func (m *Media) checkOverlap(d *document) {
	names := d.inFileOrder("media.networks", slices.Collect(maps.Keys(m.Networks)))
	for i, name := range names {
		for _, other := range names[:i] {
			a, b := m.Networks[name], m.Networks[other]
			if a.Ports.Low > b.Ports.High || b.Ports.Low > a.Ports.High {
				continue
			}
			for _, addr := range a.Addresses {
				if slices.Contains(b.Addresses, addr) {
					path := "media.networks." + name + ".ports"
					d.fail(path, fmt.Sprintf("overlaps %d-%d of network %s (line %d) on %s", b.Ports.Low, b.Ports.High,
						other, d.line("media.networks."+other+".ports"), addr), "give each its own ports or addresses")
					break
				}
			}
		}
	}
}

// concrete wants an address that a packet can come from and go to.
func (d *document) concrete(path string, a netip.Addr) {
	switch {
	case !a.IsValid(): // its own error is there already
	case a.IsUnspecified():
		d.fail(path, "is every address at once, and it is written into messages", "name the one address that peers should use")
	case a.IsMulticast() || a == netip.AddrFrom4([4]byte{255, 255, 255, 255}):
		d.fail(path, "is no address of one host", "use a unicast address")
	}
}

// oneOf wants one of a few words.
func (d *document) oneOf(path, value string, words ...string) {
	if slices.Contains(words, value) {
		return
	}
	do := "write " + strings.Join(words[:len(words)-1], ", ") + " or " + words[len(words)-1]
	if meant, ok := near.Word(value, words); ok && value != "" {
		do = fmt.Sprintf("did you mean %q?", meant)
	}
	d.fail(path, "is none of the words known here", do)
}

// name wants a word that the operator may choose.
func (d *document) name(path, value string) {
	if !isName(value) {
		d.fail(path, "is not a name", "use 1 to 64 letters, digits, dashes and underscores, beginning with a letter or digit")
	}
}

// match wants a form.
func (d *document) match(path, value string, form *regexp.Regexp, do string) {
	if !form.MatchString(value) {
		d.fail(path, "is not of the right form", do)
	}
}

// between wants a number within bounds.
func (d *document) between(path string, n, low, high int) {
	if n < low || n > high {
		d.fail(path, "is out of range", fmt.Sprintf("write %d to %d", low, high))
	}
}

// within wants a duration within bounds.
func (d *document) within(path string, v, low, high time.Duration) {
	if v < low || v > high {
		d.fail(path, "is out of range", fmt.Sprintf("write %s to %s", short(low), short(high)))
	}
}

// inFileOrder sorts names below a section by their place in the file, so that the later of two in conflict gets the error.
func (d *document) inFileOrder(section string, names []string) []string {
	slices.SortFunc(names, func(a, b string) int {
		x, y := d.at[section+"."+a], d.at[section+"."+b]
		return cmp.Or(cmp.Compare(x.line, y.line), cmp.Compare(x.column, y.column))
	})
	return names
}

func isName(s string) bool {
	return entryName.MatchString(s)
}

func isNodeRune(r rune) bool {
	return r == '-' || r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z'
}

// short is a duration without its zero parts: 1h, not 1h0m0s.
func short(v time.Duration) string {
	s := v.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}
