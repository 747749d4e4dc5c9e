package config

import (
	"fmt"
	"strings"
	"testing"
)

// broken is a valid file of 15 lines whose last section is trunk gw: the cases below append to it, from line 16 on.
const broken = `media:
  networks:
    lan: {addresses: [192.0.2.1], ports: 40000-40099}
sip:
  listeners:
    tls1:
      transport: tls
      address: 192.0.2.1:5061
      tls: {certificate: c.pem, key: k.pem}
    udp1: {transport: udp, address: 192.0.2.1:5060}
trunks:
  uc: {listener: tls1, peer: uc.example.com}
  gw:
    listener: udp1
    peer: 198.51.100.1
`

const (
	topKeys   = "node, log, control, metrics, media, sip, records, policy, sites, trunks, groups, dial_plans, routes"
	trunkKeys = "listener, peer, site, sources, tls_names, tls, network, domain, auth, challenge, register, profile, srtp, suites, roc_tx, pin, " +
		"any_source_port, media_prefixes, rtcp_mux, rtcp_active, rtcp_held, trusted, forward_history, forward_pai, forward_diversion, pidf_lo, identity, " +
		"refer, session_timer, prack, max_early_dialogs, fax, bypass, failover, options, max_calls, max_cps, max_bandwidth, dial_plan, usages, " +
		"called_numbers, calling_numbers, remove_plus, responses"
)

// inSIP is the same file with further keys in sip, from line 5 on.
func inSIP(keys string) string {
	return strings.Replace(broken, "  listeners:\n", keys+"  listeners:\n", 1)
}

// errorCase is a file and the exact errors it must give, a line each, without the file's name.
type errorCase struct {
	name, text, want string
}

func (c errorCase) run(t *testing.T) {
	t.Helper()
	t.Run(c.name, func(t *testing.T) {
		t.Helper()
		_, err := Parse("t.yaml", []byte(c.text))
		want := "t.yaml:" + strings.ReplaceAll(c.want, "\n", "\nt.yaml:")
		if err == nil || err.Error() != want {
			t.Errorf("got\n%v\nwant\n%s", err, want)
		}
	})
}

func TestErrorsOfSyntaxTellThePlace(t *testing.T) {
	const hint = "; check the indentation, and quote values that begin with [ { * & ! @ or contain ': '"
	for _, c := range []errorCase{
		{"open bracket", "a: [1", "1:4: sequence end token ']' not found" + hint},
		{"two colons", "node: a: b", "1:7: mapping value is not allowed in this context" + hint},
		{"a backslash in double quotes", broken + "routes:\n  - {name: r, from: [gw], to: [gw], match: \"^\\+\"}\n",
			"17:47: found unknown escape character '+'; in double quotes a backslash begins an escape: write the value in single quotes, as '^\\+43'"},
		{"two documents", "node: a\n---\nnode: b", "3:5: a second document begins here; keep one, without --- between"},
		{"not UTF-8", "node: a\nnode: ä\xff", "2:8: byte 0xff is not text; save the file as UTF-8"},
		{"control byte", "node: \x01", "1:7: byte 0x01 is not text; save the file as UTF-8"},
		{"a word alone", "hello", "1:1: the file is no mapping; begin it with keys such as media: and sip:"},
		{"a list", "- a", "1:1: the file is no mapping; begin it with keys such as media: and sip:"},
		{"too large", strings.Repeat("#", maxFile+1), fmt.Sprintf("1:1: the file is larger than %d bytes; is this the right file?", maxFile)},
		{"anchor", broken + "    domain: &x a\n", "16:5: trunks.gw.domain: anchors and aliases are not read here; write the value out"},
		{"alias", broken + "    domain: *x\n", "16:5: trunks.gw.domain: anchors and aliases are not read here; write the value out"},
		{"tag", broken + "    domain: !!str a\n", "16:5: trunks.gw.domain: tags are not read here; remove the word that begins with !"},
		{"merge key", broken + "    <<: {domain: a}\n",
			"16:5: trunks.gw: this is not a plain key: merge keys (<<), ? keys and empty keys are not read here; write the keys out"},
	} {
		c.run(t)
	}
}

func TestUnknownKeysGetASuggestion(t *testing.T) {
	for _, c := range []errorCase{
		{"letter left out", broken + "    lisener: udp1\n", `16:5: trunks.gw.lisener: unknown key; did you mean "listener"?`},
		{"letters swapped", broken + "    pere: udp1\n", `16:5: trunks.gw.pere: unknown key; did you mean "peer"?`},
		{"dash for underscore", broken + "    max-calls: 3\n", `16:5: trunks.gw.max-calls: unknown key; did you mean "max_calls"?`},
		{"right key, wrong section", broken + "srtp: off\n", "16:1: srtp: unknown key; it belongs in policy or in sites.NAME.policy or in trunks.NAME"},
		{"right key of two sections", broken + "    transport: udp\n    ports: 1-2\n",
			"16:5: trunks.gw.transport: unknown key; it belongs in sip.listeners.NAME\n" +
				"17:5: trunks.gw.ports: unknown key; it belongs in media.networks.NAME or in media"},
		{"key of a list's section", broken + "match: a\n", "16:1: match: unknown key; it belongs in routes[] or in dial_plans.NAME[] or in policy.called_numbers[], among others"},
		{"top-level key below", broken + "    log: {}\n", "16:5: trunks.gw.log: unknown key; it belongs in the top level"},
		{"misspelt and in the wrong section", broken + "stranger-rates: 3\n",
			`16:1: stranger-rates: unknown key; did you mean "stranger_rate" of sip.limits?`},
		{"like nothing", broken + "    zzz: 3\n", "16:5: trunks.gw.zzz: unknown key; trunks.gw has " + trunkKeys},
		{"like nothing at the top", broken + "zzz: 3\n", "16:1: zzz: unknown key; the top level has " + topKeys},
		{"no name at all", broken + "\"a\\nb\": 3\n", `16:1: "a\nb": unknown key; the top level has ` + topKeys},
		{"twice", broken + "    peer: gw2\n", "16:5: trunks.gw.peer: stands in line 15 already; keep one of the two"},
	} {
		c.run(t)
	}
}

func TestValuesOfTheWrongTypeSayWhatIsWanted(t *testing.T) {
	for _, c := range []errorCase{
		{"word for a number", broken + "    max_calls: many\n", "16:16: trunks.gw.max_calls: many: is not a whole number; write digits only, at most 2147483647"},
		{"list for a number", broken + "    max_calls: [1]\n", "16:5: trunks.gw.max_calls: is a list or a section; one value is wanted here: a whole number"},
		{"word for a list", broken + "    sources: 192.0.2.0/24\n", "16:14: trunks.gw.sources: 192.0.2.0/24: is not a list; write [one, another]"},
		{"word for a section", broken + "    options: off\n", "16:14: trunks.gw.options: off: is not a section; write keys below it, indented, as name: value"},
		{"no for false", broken + "    rtcp_mux: no\n", "16:15: trunks.gw.rtcp_mux: no: is neither true nor false; write false, or true"},
		{"nothing", broken + "    domain:\n", "16:5: trunks.gw.domain: has no value; give it one or remove the key"},
		{"yes for true", broken + "    rtcp_mux: yes\n", "16:15: trunks.gw.rtcp_mux: yes: is neither true nor false; write true, or false"},
		{"neither", broken + "    rtcp_mux: 1\n", "16:15: trunks.gw.rtcp_mux: 1: is neither true nor false; write one of them"},
		{"duration without a unit", broken + "    failover: {timeout: 10}\n", "16:25: trunks.gw.failover.timeout: 10: has no unit; write 10s, 10ms or 10m"},
		{"duration with a space", broken + "    failover: {timeout: 10 s}\n",
			"16:25: trunks.gw.failover.timeout: 10 s: is no duration; write a number and a unit, as 500ms, 30s, 10m or 1h30m"},
		{"prefixes", broken + "    sources: [192.0.2.1/24, 10.0.0.0/33, '::ffff:1.2.3.4', 'fe80::1%eth0']\n",
			"16:15: trunks.gw.sources[0]: 192.0.2.1/24: has bits beyond its length; write 192.0.2.0/24 for the network or 192.0.2.1 for the one address\n" +
				"16:29: trunks.gw.sources[1]: 10.0.0.0/33: is no prefix; write it as 192.0.2.0/24, 2001:db8::/32 or a single address\n" +
				"16:42: trunks.gw.sources[2]: ::ffff:1.2.3.4: is an IPv4 address in IPv6 clothes; write 1.2.3.4\n" +
				"16:60: trunks.gw.sources[3]: fe80::1%eth0: has a zone; use an address that is valid beyond one link"},
		{"regular expression", broken + "routes: [{name: r, match: '(', from: [uc], to: [gw]}]\n",
			"16:27: routes[0].match: (: is no regular expression (missing closing ): `(`); see https://pkg.go.dev/regexp/syntax"},
		{"unprintable value", broken + "    domain: \"a\\tb\"\n", `16:13: trunks.gw.domain: "a\tb": is no host; write a name or an address without port`},
	} {
		c.run(t)
	}
}

func TestReferencesToNothingSayWhatThereIs(t *testing.T) {
	for _, c := range []errorCase{
		{"listener", broken + "  g2: {listener: udp2, peer: 192.0.2.9}\n", `16:18: trunks.g2.listener: udp2: there is no listener of this name; did you mean "udp1"?`},
		{"network", broken + "    network: outside\n", "16:14: trunks.gw.network: outside: there is no network of this name; define it in media.networks, or name one of: lan"},
		{"trunks", broken + "routes:\n  - {name: r, from: [nobody], to: [gw, gx, gw]}\n",
			"17:22: routes[0].from[0]: nobody: there is no trunk of this name; define it in trunks, or name one of: gw, uc\n" +
				"17:40: routes[0].to[1]: gx: there is no trunk of this name; did you mean \"gw\"?\n" +
				"17:44: routes[0].to[2]: gw: stands in this list already; remove one of the two"},
		{"missing keys of a trunk", broken + "  g2: {}\n",
			"16:3: trunks.g2.listener: is missing; name one of sip.listeners\n" +
				"16:3: trunks.g2.peer: is missing; write the host or IP to send calls to, with an optional port"},
		{"empty trunk", broken + "  g2:\n", "16:3: trunks.g2: has no keys; fill it or remove it"},
		{"name with a dot", broken + "  g.2: {listener: udp1, peer: a}\n",
			`16:3: trunks."g.2": is not a name; use 1 to 64 letters, digits, dashes and underscores, beginning with a letter or digit`},
		{"routes", broken + "routes:\n  - {name: r, from: [uc], to: [gw]}\n  - {name: r, to: []}\n  - {to: [gw]}\n",
			"18:12: routes[1].name: r: route 1 of line 17 has this name; give each its own\n" +
				"18:15: routes[1].to: names no trunk; list the trunks and groups to try, in their order, or write reject with a code\n" +
				"19:6: routes[2].name: is missing; give it a name: logs and explanations use it"},
		{"network among several", strings.Replace(broken, "    lan:", "    wan: {addresses: [192.0.2.2], ports: 40000-40099}\n    lan:", 1),
			"13:3: trunks.uc.network: is missing; there are several media networks: name one of lan, wan\n" +
				"14:3: trunks.gw.network: is missing; there are several media networks: name one of lan, wan"},
	} {
		c.run(t)
	}
}

func TestTrunkPolicyThatCannotWorkIsRefused(t *testing.T) {
	for _, c := range []errorCase{
		{"SRTP without TLS", broken + "    srtp: required\n", "16:11: trunks.gw.srtp: required: SRTP is not supported without TLS, " +
			"its keys would cross the network in clear on listener udp1 (udp); use a tls listener, or write off"},
		{"SRTP misspelt", broken + "    srtp: of\n", `16:11: trunks.gw.srtp: of: is none of the words known here; did you mean "off"?`},
		{"auth without SRTP", broken + "    pin: auth\n", "16:10: trunks.gw.pin: auth: nothing authenticates plain RTP, and srtp is off here; write exact or learn"},
		{"suites without SRTP", broken + "    suites: [AEAD_AES_256_GCM]\n", "16:5: trunks.gw.suites: srtp is off here; remove the suites, or write srtp: required"},
		{"any port of a learnt peer", broken + "    pin: learn\n    any_source_port: true\n",
			"17:22: trunks.gw.any_source_port: true: only pin exact looks at source ports, and here pin is learn; remove it, or write pin: exact"},
		{"names without certificates", broken + "    tls_names: [a.example.com]\n",
			"16:5: trunks.gw.tls_names: there are no certificates on listener udp1 (udp); remove it, or use a tls listener"},
		{"wildcards", broken + "  g2: {listener: tls1, peer: 192.0.2.9, tls_names: ['*.com', '*.example.com']}\n",
			"16:41: trunks.g2.tls_names: the peer is an address and there are only wildcards: no name to ask for when we connect; add one name without a star\n" +
				"16:53: trunks.g2.tls_names[0]: *.com: is too wide a wildcard; write it as *.sbc.example.com: the star is one label below a name of two or more"},
		{"suite", broken + "  g2: {listener: tls1, peer: a.example.com, suites: [AES_CM_128_HMAC_SHA1_81]}\n",
			`16:54: trunks.g2.suites[0]: AES_CM_128_HMAC_SHA1_81: is none of the words known here; did you mean "AES_CM_128_HMAC_SHA1_80"?`},
		{"no suites", broken + "  g2: {listener: tls1, peer: a.example.com, suites: []}\n",
			"16:45: trunks.g2.suites: names no suite; list at least one, or remove the key for AES_CM_128_HMAC_SHA1_80"},
		{"suite twice", broken + "  g2: {listener: tls1, peer: a.example.com, suites: [AEAD_AES_128_GCM, AEAD_AES_128_GCM]}\n",
			"16:72: trunks.g2.suites[1]: AEAD_AES_128_GCM: stands in this list already; remove one of the two"},
		{"nobody's certificate", broken + "  g2: {listener: tls1, peer: a.example.com, tls_names: []}\n",
			"16:45: trunks.g2.tls_names: names nobody; list the names that the peer's certificate may carry"},
		{"name of no host", broken + "  g2: {listener: tls1, peer: a.example.com, tls_names: [a b]}\n",
			"16:57: trunks.g2.tls_names[0]: a b: is no host name; write it as sbc.example.com or *.sbc.example.com"},
		{"codes", broken + "    failover: {codes: [503, 603, 200]}\n",
			"16:29: trunks.gw.failover.codes[1]: 603: the callee declined, that is never tried again; remove it\n" +
				"16:34: trunks.gw.failover.codes[2]: 200: is out of range; write 400 to 699"},
		{"failover after the end", inSIP("  limits: {ring_timeout: 20s}\n") + "    failover: {timeout: 30s}\n",
			"17:25: trunks.gw.failover.timeout: 30s: is not shorter than sip.limits.ring_timeout, 20s; a call would end before it moves on; shorten it"},
		{"peer", broken + "  g2: {listener: udp1, peer: 'a b'}\n", `16:30: trunks.g2.peer: a b: is neither a host nor host:port; write it as gw1.example.net, 192.0.2.1:5060 or "[2001:db8::1]:5060"`},
		{"peer of digits", broken + "  g2: {listener: udp1, peer: 192.0.2.256}\n", `16:30: trunks.g2.peer: 192.0.2.256: is neither a host nor host:port; write it as gw1.example.net, 192.0.2.1:5060 or "[2001:db8::1]:5060"`},
		{"the same pair", broken + "  g2: {listener: udp1, peer: '198.51.100.1:5060'}\n",
			"16:30: trunks.g2.peer: 198.51.100.1:5060: trunk gw leads from listener udp1 to this peer already (line 13); two trunks never share a pair; merge them or use another listener"},
		{"the same pair in other letters", broken + "  u2: {listener: tls1, peer: 'UC.Example.COM.:5061'}\n",
			"16:30: trunks.u2.peer: UC.Example.COM.:5061: trunk uc leads from listener tls1 to this peer already (line 12); two trunks never share a pair; merge them or use another listener"},
	} {
		c.run(t)
	}
}

func TestListenersAndPortsThatCollideAreRefused(t *testing.T) {
	listener := func(text string) string {
		return strings.Replace(broken, "trunks:\n", "    l2: "+text+"\ntrunks:\n", 1)
	}
	network := func(text string) string {
		return strings.Replace(broken, "sip:\n", "    n2: "+text+"\nsip:\n", 1) + "    network: lan\n"
	}
	udp := strings.ReplaceAll(broken, "peer: uc.example.com", "peer: uc.example.com, network: lan")
	for _, c := range []errorCase{
		{"same stream address", listener("{transport: tcp, address: 192.0.2.1:5061}"),
			"11:35: sip.listeners.l2.address: 192.0.2.1:5061: listener tls1 has it already (line 6); give each its own port"},
		{"same UDP address", listener("{transport: udp, address: 192.0.2.1:5060}"),
			"11:35: sip.listeners.l2.address: 192.0.2.1:5060: listener udp1 has it already (line 10); give each its own port"},
		{"every address", listener("{transport: udp, address: 0.0.0.0:5060}"),
			"11:35: sip.listeners.l2.address: 0.0.0.0:5060: is every address at once, and it is written into messages; name the one address that peers should use"},
		{"no port", listener("{transport: udp, address: 192.0.2.1}"), `11:35: sip.listeners.l2.address: 192.0.2.1: has no port; write "192.0.2.1:5060"`},
		{"among media ports", listener("{transport: udp, address: 192.0.2.1:40002}"),
			"11:35: sip.listeners.l2.address: 192.0.2.1:40002: lies among the media ports 40000-40099 of network lan; choose a port outside"},
		{"nothing", listener("{advertise: 'a b'}"), "11:5: sip.listeners.l2.transport: is missing; write udp, tcp or tls\n" +
			"11:5: sip.listeners.l2.address: is missing; write it as 192.0.2.1:5060\n" +
			"11:21: sip.listeners.l2.advertise: a b: is neither a host nor host:port; write it as sbc.example.com or \"203.0.113.1:5061\""},
		{"tls without an identity", listener("{transport: tls, address: 192.0.2.1:5067}"), "11:5: sip.listeners.l2.tls: is missing; transport tls needs it, with certificate and key"},
		{"identity without tls", listener("{transport: tcp, address: 192.0.2.1:5068, tls: {certificate: c}}"),
			"11:51: sip.listeners.l2.tls: is of no use with transport tcp; remove it, or write transport: tls"},
		{"half an identity", listener("{transport: tls, address: 192.0.2.1:5067, tls: {certificate: c, min_version: 1.1}}"),
			"11:51: sip.listeners.l2.tls.key: is missing; name the PEM file of the certificate's private key\n" +
				"11:86: sip.listeners.l2.tls.min_version: 1.1: is none of the words known here; did you mean \"1.2\"?"},
		{"ports backwards", strings.Replace(udp, "40000-40099", "40000-39999", 1), "3:42: media.networks.lan.ports: 40000-39999: is empty; write the lower port first: 39999-40000"},
		{"odd first port", strings.Replace(udp, "40000-40099", "40001-40099", 1),
			"3:42: media.networks.lan.ports: 40001-40099: begins with an odd port, RTP takes the even one of a pair; write 40002-40099"},
		{"even last port", strings.Replace(udp, "40000-40099", "40000-40100", 1),
			"3:42: media.networks.lan.ports: 40000-40100: ends with an even port, whose RTCP would lie outside; write 40000-40101"},
		{"low ports", strings.Replace(udp, "40000-40099", "1000-2999", 1), "3:42: media.networks.lan.ports: 1000-2999: begins among the ports of services; begin at 1024 or above"},
		{"a port outside of the brackets", listener("{transport: udp, address: '2001:db8::1:5060'}"),
			`11:35: sip.listeners.l2.address: 2001:db8::1:5060: has no port; write "[2001:db8::1]:5060", or if the address is the whole of it "[2001:db8::1:5060]:5060"`},
		{"no port and no group that could be one", listener("{transport: udp, address: '2001:db8::1'}"), `11:35: sip.listeners.l2.address: 2001:db8::1: has no port; write "[2001:db8::1]:5060"`},
		{"ports that there are not", strings.Replace(udp, "40000-40099", "50000-70001", 1),
			"3:42: media.networks.lan.ports: 50000-70001: goes beyond 65535, the highest port there is; lower 70001"},
		{"no range", strings.Replace(udp, "40000-40099", "40000", 1), "3:42: media.networks.lan.ports: 40000: is no range of ports; write it as 40000-49999"},
		{"overlap", strings.Replace(network("{addresses: [192.0.2.1], ports: 40098-40199}"), "uc.example.com", "uc.example.com, network: lan", 1),
			"4:41: media.networks.n2.ports: 40098-40199: overlaps 40000-40099 of network lan (line 3) on 192.0.2.1; give each its own ports or addresses"},
		{"advertise for two", strings.Replace(broken, "[192.0.2.1], ports: 40000-40099", "[192.0.2.1, 192.0.2.2], ports: 40000-40099, advertise: 203.0.113.1", 1),
			"3:77: media.networks.lan.advertise: 203.0.113.1: stands for 2 addresses, whose ports would collide behind it; make a network for each address"},
		{"advertise of another family", strings.Replace(broken, "40000-40099", "40000-40099, advertise: '2001:db8::1'", 1),
			"3:66: media.networks.lan.advertise: 2001:db8::1: is of another family than the addresses of this network; advertise an address of their family"},
		{"empty network", "media: {networks: {lan: {}}}", "1:20: media.networks.lan.addresses: names no address; write at least one, as [192.0.2.1]\n" +
			"1:20: media.networks.lan.ports: is missing; give the range of UDP ports for media, as 40000-49999"},
		{"multicast", strings.Replace(udp, "[192.0.2.1]", "[224.0.0.1]", 1),
			"3:23: media.networks.lan.addresses[0]: 224.0.0.1: is no address of one host; use a unicast address"},
		{"address twice", strings.Replace(udp, "[192.0.2.1]", "[192.0.2.1, 192.0.2.1]", 1),
			"3:34: media.networks.lan.addresses[1]: 192.0.2.1: stands in this list already; remove one of the two"},
		{"no address", strings.Replace(udp, "[192.0.2.1]", "[gw.example.com]", 1),
			"3:23: media.networks.lan.addresses[0]: gw.example.com: is no IP address; write it as 192.0.2.1 or 2001:db8::1; names are not resolved here"},
		{"listener on port 0", listener("{transport: udp, address: 192.0.2.1:0}"),
			"11:35: sip.listeners.l2.address: 192.0.2.1:0: has port 0; name the port that peers should use"},
		{"listener on a name", listener("{transport: udp, address: 'sbc.example.com:5060'}"),
			`11:35: sip.listeners.l2.address: sbc.example.com:5060: is no IP address with port; write it as 192.0.2.1:5060 or "[2001:db8::1]:5060"`},
		{"listener with a zone", listener("{transport: udp, address: '[fe80::1%eth0]:5060'}"),
			"11:35: sip.listeners.l2.address: [fe80::1%eth0]:5060: has a zone; use an address that is valid beyond one link"},
		{"no identity", listener("{transport: tls, address: 192.0.2.1:5067, tls: {ca: '', client: maybe}}"),
			"11:51: sip.listeners.l2.tls.certificate: is missing; name the PEM file of our certificate and its chain\n" +
				"11:51: sip.listeners.l2.tls.key: is missing; name the PEM file of the certificate's private key\n" +
				"11:61: sip.listeners.l2.tls.ca: \"\": is empty; name a PEM file, or remove the key for the system's authorities\n" +
				"11:73: sip.listeners.l2.tls.client: maybe: is none of the words known here; write require, request or none"},
		{"no network", "", "1:1: media.networks: names no network; give at least one name with addresses and ports: media has to go somewhere"},
	} {
		c.run(t)
	}
}

func TestRelayAndProcessSettingsAreBounded(t *testing.T) {
	for _, c := range []errorCase{
		{"node", broken + "node: a.b\n", "16:7: node: a.b: is not of the right form; use 1 to 32 letters, digits and dashes"},
		{"log", broken + "log: {level: warning, format: xml}\n", "16:14: log.level: warning: is none of the words known here; write debug, info, warn or error\n" +
			"16:31: log.format: xml: is none of the words known here; write text or json"},
		{"control", broken + "control: {socket: relay.sock, mode: 0888, users: ['']}\n",
			"16:19: control.socket: relay.sock: is not an absolute path; begin it with /\n" +
				"16:37: control.mode: 0888: is not of the right form; write three octal digits, as \"0660\"\n" +
				"16:51: control.users[0]: \"\": is empty; name a user or remove it"},
		{"long socket", broken + "control: {socket: /" + strings.Repeat("s", 107) + ", group: '', groups: ['']}\n",
			"16:19: control.socket: /" + strings.Repeat("s", 79) + "...: is longer than 107 bytes, the kernel's limit; choose a shorter path\n" +
				"16:136: control.group: \"\": is empty; name a group or remove the key\n" +
				"16:149: control.groups[0]: \"\": is empty; name a group or remove it"},
		{"metrics", broken + "metrics: {relay: localhost, sip: of}\n", "16:18: metrics.relay: localhost: is no listening address; write it as 127.0.0.1:9640, or off\n" +
			"16:34: metrics.sip: of: is no listening address; write it as 127.0.0.1:9640, or off"},
		{"metrics on one address", broken + "metrics: {sip: '127.0.0.1:9640'}\n",
			"16:16: metrics.sip: 127.0.0.1:9640: the relay and sip endpoints have the same address; give each its own port, or off"},
		{"media", "media:\n  engine: dpdk\n  workers: 0\n  receive_buffer: 9\n  poll: 1s\n  timeouts: {initial: 0s, running: -1s, orphan: 99h}\n  ports: {prefer: 2s}\n" + strings.TrimPrefix(broken, "media:\n"),
			"2:11: media.engine: dpdk: is none of the words known here; write auto, sockets, funnel or xdp\n" +
				"3:12: media.workers: 0: is out of range; write 1 to 255\n" +
				"4:19: media.receive_buffer: 9: is out of range; write 4096 to 1073741824\n" +
				"5:9: media.poll: 1s: is out of range; write 20µs to 10ms\n" +
				"6:23: media.timeouts.initial: 0s: is out of range; write 1s to 1h\n" +
				"6:36: media.timeouts.running: -1s: is out of range; write 1s to 24h\n" +
				"6:49: media.timeouts.orphan: 99h: is out of range; write 1s to 24h\n" +
				"7:19: media.ports.prefer: 2s: ports would rest 2s by preference but 5s in need; make prefer at least as long as never"},
		{"limits", inSIP("  fqdn: a_b..c\n  user_agent: \"a\\r\\nb\"\n  limits: {calls: 0, connections: 10, connections_per_source: 11, message_bytes: 100}\n"),
			"5:9: sip.fqdn: a_b..c: is no host name; write it as sbc.example.com\n" +
				"6:15: sip.user_agent: \"a\\r\\nb\": is not of the right form; use 1 to 128 printable ASCII characters\n" +
				"7:19: sip.limits.calls: 0: is out of range; write 1 to 1000000\n" +
				"7:63: sip.limits.connections_per_source: 11: is more than all connections together, 10; lower it, or raise connections\n" +
				"7:82: sip.limits.message_bytes: 100: is out of range; write 1500 to 65535"},
	} {
		c.run(t)
	}
}

func TestAllErrorsAreReportedInTheOrderOfTheLines(t *testing.T) {
	text := broken + "    max_calls: x\nnode: '!'\nzzz: 1\n"
	_, err := Parse("t.yaml", []byte(strings.Replace(text, "ports: 40000-40099", "ports: 1", 1)))
	errs, ok := err.(Errors)
	if !ok || len(errs) != 4 {
		t.Fatalf("got %v", err)
	}
	for i, line := range []int{3, 16, 17, 18} {
		if errs[i].Line != line {
			t.Errorf("error %d is of line %d, want %d: %v", i, errs[i].Line, line, errs[i])
		}
	}
}

func TestLongValuesAreCutInErrors(t *testing.T) {
	_, err := Parse("t.yaml", []byte(broken+"    domain: "+strings.Repeat("-", 5000)+"\n"))
	if err == nil || len(err.Error()) > 250 || !strings.Contains(err.Error(), "---...") {
		t.Errorf("got %.300v", err)
	}
}
