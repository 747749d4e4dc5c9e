package digest

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"tandem/internal/config"
)

func credentials() Credentials { return Credentials{User: "alice", Password: "open sesame"} }

// respond answers one challenge with a fixed cnonce and gives the parameters of the answer.
func respond(t *testing.T, c Credentials, method, uri, body string, challenges ...string) map[string]string {
	t.Helper()
	value, err := Respond(challenges, c, method, uri, []byte(body), &Counter{Random: bytes.NewReader(make([]byte, cnonceBytes))})
	if err != nil {
		t.Fatal(err)
	}
	p, err := parse(value)
	if err != nil {
		t.Fatalf("%s: %v", value, err)
	}
	return p
}

func TestAnswersAreThoseOfTheRFCs(t *testing.T) {
	for _, c := range []struct {
		name, alg, user, realm, password string
		x                                exchange
		want                             string
	}{
		{"RFC 7616 section 3.9.1, SHA-256", "SHA-256", "Mufasa", "http-auth@example.org", "Circle of Life", exchange{
			method: "GET", uri: "/dir/index.html", nonce: "7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v",
			nc: "00000001", cnonce: "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ", qop: "auth"},
			"753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1"},
		{"RFC 7616 section 3.9.1, MD5", "MD5", "Mufasa", "http-auth@example.org", "Circle of Life", exchange{
			method: "GET", uri: "/dir/index.html", nonce: "7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v",
			nc: "00000001", cnonce: "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ", qop: "auth"},
			"8ca523f5e9506fed4657c9700eebdbec"},
		{"RFC 2617 section 3.5", "", "Mufasa", "testrealm@host.com", "Circle Of Life", exchange{
			method: "GET", uri: "/dir/index.html", nonce: "dcd98b7102dd2f0e8b11d0f600bfb0c093",
			nc: "00000001", cnonce: "0a4f113b", qop: "auth"},
			"6629fae49393a05397450978507c4ef1"},
		{"RFC 2069 section 2.4 with its erratum 749", "", "Mufasa", "testrealm@host.com", "CircleOfLife", exchange{
			method: "GET", uri: "/dir/index.html", nonce: "dcd98b7102dd2f0e8b11d0f600bfb0c093"},
			"1949323746fe6a43ef61f9606e7febea"},
	} {
		alg, ok := byName(c.alg)
		if !ok {
			t.Fatalf("%s: no such algorithm", c.name)
		}
		if got := alg.answer(alg.sum(c.user, c.realm, c.password), c.x); got != c.want {
			t.Errorf("%s: got %s, want %s", c.name, got, c.want)
		}
	}
}

// The wanted values were made with openssl dgst, one step of RFC 7616 section 3.4 after the other.
func TestAnswersAreThoseOfAnotherTool(t *testing.T) {
	const cnonce = "00000000000000000000000000000000"
	for _, c := range []struct{ name, challenge, body, want string }{
		{"MD5 with auth-int counts the body", `Digest realm="r", nonce="n", qop="auth-int"`, "v=0", "574a6629ce50b38f2945228b4a156eff"},
		{"SHA-512-256", `Digest realm="r", nonce="n", algorithm=SHA-512-256, qop="auth"`, "", "2b016d45db4dcc93171bd0f43d908d8b5bdbe7555baac54164c2073ed19a5eef"},
		{"SHA-256-sess", `Digest realm="r", nonce="n", algorithm=SHA-256-sess, qop="auth"`, "", "c5b0fc46bef02c5843046ddd3e6612a85fc3fc34541f71a5afcfecc47a41cbdb"},
	} {
		p := respond(t, credentials(), "INVITE", "sip:bob@example.net", c.body, c.challenge)
		if p["cnonce"] != cnonce || p["nc"] != "00000001" || p["response"] != c.want {
			t.Errorf("%s: got %v, want %s", c.name, p, c.want)
		}
	}
}

func TestTheStrongestChallengeIsAnswered(t *testing.T) {
	const sha256, sha512, md5, plain, unknown = `Digest realm="r", nonce="a", algorithm=SHA-256, qop="auth"`,
		`Digest realm="r", nonce="b", algorithm=SHA-512-256, qop="auth"`, `Digest realm="r", nonce="c", algorithm=MD5, qop="auth"`,
		`Digest realm="r", nonce="d"`, `Digest realm="r", nonce="e", algorithm=AKAv1-MD5`
	for _, c := range []struct {
		name       string
		challenges []string
		nonce      string
	}{
		{"SHA-256 first", []string{sha256, md5}, "a"},
		{"SHA-256 last", []string{md5, sha512, sha256}, "a"},
		{"SHA-512-256 before MD5", []string{md5, sha512}, "b"},
		{"no algorithm is MD5", []string{unknown, plain}, "d"},
		{"the first of equals", []string{md5, plain}, "c"},
		{"another scheme before it", []string{`Bearer realm="r"`, md5}, "c"},
		{"a broken one before it", []string{`Digest realm="r", nonce="x`, md5}, "c"},
	} {
		if p := respond(t, credentials(), "REGISTER", "sip:r", "", c.challenges...); p["nonce"] != c.nonce {
			t.Errorf("%s: %v was answered, want nonce %s", c.name, p, c.nonce)
		}
	}
}

func TestAnswerRepeatsWhatTheChallengeSaid(t *testing.T) {
	for _, c := range []struct{ name, challenge, want string }{
		{"RFC 2069, nothing more than asked for", `Digest realm="r", nonce="n"`,
			`Digest username="alice", realm="r", nonce="n", uri="sip:b@r", response="R"`},
		{"all of it", `digest  REALM = "a \"quoted\" \\ realm" ,nonce="n",opaque="o", algorithm="md5", qop="auth-int,auth", stale=FALSE, domain="sip:r"`,
			`Digest username="alice", realm="a \"quoted\" \\ realm", nonce="n", uri="sip:b@r", response="R", cnonce="C", opaque="o", algorithm=MD5, qop=auth, nc=00000001`},
		{"an empty realm", `Digest realm="", nonce="n", qop=auth`,
			`Digest username="alice", realm="", nonce="n", uri="sip:b@r", response="R", cnonce="C", qop=auth, nc=00000001`},
	} {
		got, err := Respond([]string{c.challenge}, credentials(), "INVITE", "sip:b@r", nil, &Counter{Random: bytes.NewReader(make([]byte, cnonceBytes))})
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		p, err := parse(got)
		if err != nil {
			t.Fatal(err)
		}
		got = strings.NewReplacer(p["response"], "R", strings.Repeat("0", 2*cnonceBytes), "C").Replace(got)
		if got != c.want {
			t.Errorf("%s:\n got %s\nwant %s", c.name, got, c.want)
		}
	}
}

func TestChallengeThatCannotBeAnsweredIsAnErrorThatSaysWhy(t *testing.T) {
	one := func(s string) []string { return []string{s} }
	for _, c := range []struct {
		name       string
		challenges []string
		c          Credentials
		want       string
	}{
		{"none", nil, credentials(), "sent no challenge"},
		{"another scheme", one(`Basic realm="r"`), credentials(), "the scheme is not Digest"},
		{"no parameters", one(`Digest`), credentials(), "there are no parameters"},
		{"no nonce", one(`Digest realm="r"`), credentials(), "no realm or no nonce"},
		{"no realm", one(`Digest nonce="n"`), credentials(), "no realm or no nonce"},
		{"another realm", one(`Digest realm="r", nonce="n"`), Credentials{User: "alice", Realm: "s"}, `its realm is "r", the credentials are for "s"`},
		{"an algorithm of others", one(`Digest realm="r", nonce="n", algorithm=SHA-1`), credentials(), `its algorithm "SHA-1" is none of`},
		{"a qop of others", one(`Digest realm="r", nonce="n", qop="auth-conf"`), credentials(), `neither auth nor auth-int`},
		{"a session without qop", one(`Digest realm="r", nonce="n", algorithm=MD5-sess`), credentials(), "no cnonce to bind its key to"},
		{"nobody to be", one(`Digest realm="r", nonce="n"`), Credentials{Password: "x"}, "there is no user"},
		{"a user that cannot be written", one(`Digest realm="r", nonce="n"`), Credentials{User: "a\r\nb"}, "username has a control character"},
		{"twice the same name", one(`Digest realm="r", nonce="n", Realm="s"`), credentials(), "realm stands there twice"},
		{"an open quote", one(`Digest realm="r", nonce="n`), credentials(), "its quote is not closed"},
		{"an escaped end", one(`Digest realm="r\`), credentials(), "control character"},
		{"something after a quote", one(`Digest realm="r"x, nonce="n"`), credentials(), "something follows its value"},
		{"a comma at the end", one(`Digest realm="r", nonce="n",`), credentials(), "not name=value"},
		{"no value", one(`Digest realm=, nonce="n"`), credentials(), "it has no value"},
		{"a line break", one("Digest realm=\"r\r\n\", nonce=\"n\""), credentials(), "control character"},
		{"two challenges in one", one(`Digest realm="r", nonce="n", Digest realm="s", nonce="m"`), credentials(), "not name=value"},
		{"too long", one(`Digest realm="` + strings.Repeat("r", maxValue) + `"`), credentials(), "bytes are too many"},
		{"too many parameters", one("Digest a0=1" + many(maxParams)), credentials(), "more than 24 parameters"},
	} {
		got, err := Respond(c.challenges, c.c, "INVITE", "sip:b@r", nil, nil)
		if err == nil || !strings.Contains(err.Error(), c.want) || got != "" {
			t.Errorf("%s: got %q, %v", c.name, got, err)
		}
		if err != nil && strings.Contains(err.Error(), string(c.c.Password)+"!") {
			t.Errorf("%s: the error tells the password", c.name)
		}
	}
}

func many(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, ", b%d=1", i)
	}
	return b.String()
}

func TestOnlyTheChallengeOfOurRealmIsAnswered(t *testing.T) {
	c := credentials()
	c.Realm = "ours"
	p := respond(t, c, "INVITE", "sip:b@r", "", `Digest realm="theirs", nonce="a", algorithm=SHA-256`, `Digest realm="ours", nonce="b"`)
	if p["nonce"] != "b" {
		t.Errorf("got %v", p)
	}
}

func TestEachAnswerToANonceHasItsOwnNumber(t *testing.T) {
	var count Counter
	next := func(nonce string) string {
		value, err := Respond([]string{`Digest realm="r", qop="auth", nonce="` + nonce + `"`}, credentials(), "REGISTER", "sip:r", nil, &count)
		if err != nil {
			t.Fatal(err)
		}
		p, err := parse(value)
		if err != nil {
			t.Fatal(err)
		}
		return p["nc"]
	}
	for i, c := range []struct{ nonce, want string }{{"a", "00000001"}, {"a", "00000002"}, {"b", "00000001"}, {"a", "00000003"}} {
		if got := next(c.nonce); got != c.want {
			t.Errorf("answer %d: number %s, want %s", i, got, c.want)
		}
	}
	for i := range noncesKept {
		next(fmt.Sprint("other", i))
	}
	if got := next("a"); got != "00000001" || len(count.used) != noncesKept {
		t.Errorf("a forgotten nonce has number %s, %d are kept", got, len(count.used))
	}
}

func TestCounterNumbersConcurrentAnswersOnce(t *testing.T) {
	var count Counter
	var wait sync.WaitGroup
	var seen sync.Map
	for range 100 {
		wait.Go(func() {
			nc, _, err := count.next("n")
			if _, twice := seen.LoadOrStore(nc, true); twice || err != nil {
				t.Errorf("%s twice: %t, %v", nc, twice, err)
			}
		})
	}
	wait.Wait()
}

func TestNoRandomnessIsAnErrorAndNoAnswer(t *testing.T) {
	got, err := Respond([]string{`Digest realm="r", nonce="n", qop="auth"`}, credentials(), "INVITE", "sip:b@r", nil, &Counter{Random: bytes.NewReader(nil)})
	if err == nil || got != "" || !strings.Contains(err.Error(), "random bytes") {
		t.Errorf("got %q, %v", got, err)
	}
}

func TestOnlyAnExpiredNonceIsWorthAnotherTry(t *testing.T) {
	for value, want := range map[string]bool{
		`Digest realm="r", nonce="n", stale=true`: true, `Digest realm="r", nonce="n", stale="TRUE"`: true,
		`Digest realm="r", nonce="n", stale=false`: false, `Digest realm="r", nonce="n"`: false, `Digest stale=true, x`: false,
	} {
		if got := NonceExpired([]string{value}); got != want {
			t.Errorf("%s: %t", value, got)
		}
	}
}

func TestPasswordIsInNoError(t *testing.T) {
	_, err := Respond([]string{"Digest realm=\"r\", nonce=\"n\""}, Credentials{User: "u\x00", Password: config.Secret("hush")}, "INVITE", "sip:b", nil, nil)
	if err == nil || strings.Contains(err.Error(), "hush") || errors.Is(err, errOtherScheme) {
		t.Errorf("got %v", err)
	}
}
