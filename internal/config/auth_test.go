package config

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"
)

func TestWhoATrunkIsAndWhomItAsksIsChecked(t *testing.T) {
	const tls2 = "  g2: {listener: tls1, peer: a.example.com, "
	for _, c := range []errorCase{
		{"auth without a password", broken + "    auth: {user: me}\n", "16:5: trunks.gw.auth: has no password; write password_file, or password"},
		{"auth with two", broken + "    auth: {user: me, password: secret1, password_file: /x}\n",
			"16:32: trunks.gw.auth.password: (hidden): there is password_file too (line 16); keep one of the two"},
		{"auth of nobody", broken + "    auth: {password: ''}\n",
			"16:5: trunks.gw.auth.user: is missing; write the user name that the peer gave\n" +
				"16:22: trunks.gw.auth.password: (hidden): is empty; write the password in quotes"},
		{"auth that cannot be quoted", broken + "    auth: {user: 'a:b', password_file: '', realm: 'a\"b'}\n",
			"16:18: trunks.gw.auth.user: a:b: is not of the right form; use 1 to 64 printable ASCII characters other than space, colon, quote and backslash\n" +
				"16:40: trunks.gw.auth.password_file: \"\": is empty; name a file whose first line is the password\n" +
				"16:51: trunks.gw.auth.realm: a\"b: is not of the right form; use 1 to 128 printable ASCII characters other than quote and backslash"},
		{"challenge", broken + "    challenge: {users: {}}\n",
			"16:5: trunks.gw.challenge.realm: is missing; write a realm, such as our domain; its default is sip.fqdn, which is missing too\n" +
				"16:17: trunks.gw.challenge.users: names nobody; write at least one name: password, or remove the section"},
		{"users", broken + "    challenge: {realm: r, users: {\"a b\": x, c: '', d@e: y}}\n",
			"16:42: trunks.gw.challenge.users.\"a b\": (hidden): is no user name; use 1 to 64 printable ASCII characters other than space, colon, quote and backslash\n" +
				"16:48: trunks.gw.challenge.users.c: (hidden): is empty; write the password in quotes"},
		{"register", broken + "    register: {expires: 1s, domain: 'a b'}\n",
			"16:5: trunks.gw.register.user: is missing; write the user part of the address that the provider gave, or auth with a user\n" +
				"16:25: trunks.gw.register.expires: 1s: is out of range; write 1m to 24h\n" +
				"16:37: trunks.gw.register.domain: a b: is no host; write what stands behind the @ of the address that the provider gave"},
		{"register as a user of digest", broken + "    register: {}\n    auth: {user: a@b, password: x}\n",
			"16:5: trunks.gw.register.user: is no user part of a SIP address (a@b); write what stands before the @ of the address that the provider gave"},
		{"identity without tls", broken + "    tls: {certificate: c, key: k}\n",
			"16:5: trunks.gw.tls: there are no certificates on listener udp1 (udp); remove it, or use a tls listener"},
		{"half an identity", broken + tls2 + "tls: {certificate: c, client: require, min_version: '1.1'}}\n",
			"16:45: trunks.g2.tls.key: is missing; name the PEM file of the certificate's private key\n" +
				"16:75: trunks.g2.tls.client: require: is about connections that peers open, and this is about ours; write it in sip.listeners.tls1.tls\n" +
				"16:97: trunks.g2.tls.min_version: 1.1: is none of the words known here; did you mean \"1.2\"?"},
	} {
		c.run(t)
	}
	c := mustParse(t, inSIP("  fqdn: sbc.example.com\n")+tls2+"tls: {ca: other.pem}, auth: {user: '100', password: x}, register: {}, challenge: {users: {a@b: y}}}\n")
	trunk := c.Trunks["g2"]
	if *trunk.TLS != (TLS{Certificate: "c.pem", Key: "k.pem", CA: "other.pem", MinVersion: "1.2"}) {
		t.Errorf("identity %+v", trunk.TLS)
	}
	if *trunk.Register != (Register{"100", "a.example.com", time.Hour}) {
		t.Errorf("register %+v", trunk.Register)
	}
	if trunk.Challenge.Realm != "sbc.example.com" || string(trunk.Challenge.Users["a@b"]) != "y" || string(trunk.Auth.Password) != "x" {
		t.Errorf("auth %v, challenge %v", trunk.Auth, trunk.Challenge)
	}
}

func TestSecretsAreNeverPrinted(t *testing.T) {
	const secret = "s3cr3t"
	text := broken + "    auth: {user: me, password: s3cr3t}\n    challenge: {realm: r, users: {you: s3cr3t}}\n    register: {}\n"
	c := mustParse(t, text)
	auth, users := c.Trunks["gw"].Auth, c.Trunks["gw"].Challenge.Users
	if string(auth.Password) != secret || string(users["you"]) != secret {
		t.Fatal("the secret was not read")
	}
	var out bytes.Buffer
	c.Describe(&out)
	c.DescribePolicies(&out)
	fmt.Fprintln(&out, Diff(c, mustParse(t, strings.ReplaceAll(text, secret, "0th3r"))))
	fmt.Fprintln(&out, Diff(mustParse(t, broken), c), Diff(c, mustParse(t, broken)))
	fmt.Fprintf(&out, "%v %+v %#v %s %q %x %d %v", *auth, *auth, *auth, auth.Password, auth.Password, auth.Password, auth.Password, users)
	slog.New(slog.NewJSONHandler(&out, nil)).Info("a", "auth", auth, "users", users, "password", auth.Password)
	slog.New(slog.NewTextHandler(&out, nil)).Info("a", "auth", auth, "users", users, "password", auth.Password)
	if err := json.NewEncoder(&out).Encode(c.Trunks["gw"]); err != nil {
		t.Error(err)
	}
	for _, leak := range []string{secret, "0th3r", fmt.Sprintf("%x", secret)} {
		if strings.Contains(out.String(), leak) {
			t.Errorf("%s was printed:\n%s", leak, out.String())
		}
	}
	if !strings.Contains(out.String(), "      password: '(hidden)'  # not shown: write it here, or in a file that password_file names\n") {
		t.Errorf("the description does not say what it hides:\n%s", out.String())
	}
}

func TestErrorsDoNotRepeatSecrets(t *testing.T) {
	for _, keys := range []string{
		"auth: s3cr3t", "auth: [s3cr3t]", "auth: {user: a, password: [s3cr3t]}", "auth: {user: a, password: {s3cr3t: 1}}", "auth: {user: a, password: &s3cr3t x}",
		"auth: {user: a, password: !s3cr3t x}", "auth: {user: a, password: s3cr3t, password_file: f}", "challenge: s3cr3t", "challenge: {realm: r, users: s3cr3t}",
		"challenge: {realm: r, users: [s3cr3t]}", "challenge: {realm: r, users: {a: [s3cr3t]}}", "challenge: {realm: r, users: {'a b': s3cr3t}}",
		"auth: {user: a, passwort: s3cr3t}", "auth: {user: a, password: s3cr3t, password: x}", "challenge: {realm: r, users: {a: {s3cr3t: 1}}}",
		"auth: {user: a, password: 's3cr3t}", "auth: {user: a, password: [s3cr3t}", "auth: {user: a, password: \"s3cr3t\\y\"}",
		"auth:\n      password: s3cr3t\n     user: a", "auth:\n      password: @s3cr3t",
	} {
		_, err := Parse("t.yaml", []byte(broken+"    "+keys+"\n"))
		if err == nil {
			t.Errorf("%s was accepted", keys)
		} else if strings.Contains(err.Error(), "s3cr3t") {
			t.Errorf("%s: %v", keys, err)
		}
	}
}

func TestADescriptionIsNoConfigUntilItsPasswordsAreThere(t *testing.T) {
	c := mustParse(t, broken+"    auth: {user: me, password: change-me}\n")
	_, err := Parse("t.yaml", []byte(described(c)))
	if err == nil || !strings.HasSuffix(err.Error(), ": trunks.gw.auth.password: (hidden): stands in place of a password that was not shown; write the password itself") {
		t.Errorf("%v", err)
	}
	again := mustParse(t, withPasswords(described(c)))
	if described(again) != described(c) || again.Trunks["gw"].Auth.Password != "change-me" {
		t.Errorf("reads back differently:\n%s", described(again))
	}
}
