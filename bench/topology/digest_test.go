package topology

import (
	"crypto/md5"
	"crypto/sha256"
	"fmt"
	"regexp"
	"strings"
	"testing"

	"tandem/signaling/console"
)

// questioned has the PBX call, and answers the node's challenge for it.
func (n *node) questioned(from *host, called string, answer func(challenge, uri string) string) *sipp {
	n.T.Helper()
	caller := from.call(dial{called: called, to: n.sip(sipPort), challenge: "proof"})
	callID, challenge, _ := strings.Cut(caller.logs("asked", 1)[0], " ")
	uri := fmt.Sprintf("sip:%s@%s", called, n.sip(sipPort))
	caller.prompt(callID, "X-Proof: "+answer(challenge, uri))
	caller.Finish()
	return caller
}

// nonce is what a challenge asks the client to work with.
var nonce = regexp.MustCompile(`nonce="([^"]*)", opaque="([^"]*)"`)

// proves is alice's answer by an algorithm (RFC 7616 section 3.4.1), computed here from nothing but the RFC.
func proves(algorithm, password string) func(challenge, uri string) string {
	sum := map[string]func(string) string{
		"MD5":     func(s string) string { return fmt.Sprintf("%x", md5.Sum([]byte(s))) },
		"SHA-256": func(s string) string { return fmt.Sprintf("%x", sha256.Sum256([]byte(s))) },
	}[algorithm]
	return func(challenge, uri string) string {
		m := nonce.FindStringSubmatch(challenge)
		if m == nil {
			return "no nonce"
		}
		const count, client = "00000001", "0a4f113b"
		response := sum(strings.Join([]string{sum("alice:office:" + password), m[1], count, client, "auth", sum("INVITE:" + uri)}, ":"))
		return fmt.Sprintf(`Digest username="alice", realm="office", nonce="%s", uri="%s", response="%s", algorithm=%s, cnonce="%s", opaque="%s", qop=auth, nc=%s`,
			m[1], uri, response, algorithm, client, m[2], count)
	}
}

func TestWhoCallsAndWhoIsCalledProveWhoTheyAre(t *testing.T) {
	t.Parallel()
	w := newWire(t, "node-a", "pbx", "gw1", "gw2", "sbc")
	n := w.hosts["node-a"].tandem(config(t, "digest"))
	asking := part{words: map[string]string{"challenge": scenario(t, "question", nil)}}
	gw1, gw2 := w.hosts["gw1"].gateway(asking), w.hosts["gw2"].gateway(asking)
	pbx := w.hosts["pbx"]
	var used string
	for _, algorithm := range []string{"MD5", "SHA-256"} {
		prove := proves(algorithm, "correct horse")
		caller := n.questioned(pbx, "+4312345", func(challenge, uri string) string {
			used = prove(challenge, uri)
			return used
		})
		want := through("pbx", "gw1")
		want.called = "+4312345"
		if r := n.tells(caller.logs("hung-up", 1)[0], want); r.User != "alice" {
			t.Errorf("the record says that %q called, want alice", r.User)
		}
	}
	gw1.logs("asked", 2)

	// The second gateway was told another password for us.
	caller := n.questioned(pbx, "+4322345", proves("SHA-256", "correct horse"))
	n.tells(caller.logs("refused 403", 1)[0], story{
		from: "pbx", called: "+4322345", code: 403, by: "callee", why: "Forbidden", tried: []try{{trunk: "gw2", code: 403, why: "Forbidden"}},
	})
	gw2.logs("asked", 1)

	// A wrong password, and an answer that was good once.
	n.questioned(pbx, "+4312345", proves("MD5", "wrong horse")).logs("refused 401", 1)
	n.Says(`msg="refused: not authenticated" trunk=pbx`)
	n.questioned(pbx, "+4312345", func(string, string) string { return used }).logs("refused 401", 1)
	if got := len(n.records()); got != 3 {
		t.Errorf("%d records, want those of the three calls that were let in", got)
	}
	if out := n.Said(); strings.Contains(out, "horse") || strings.Contains(out, "sesame") {
		t.Error("a password is in the log")
	}
	n.close()
}

func TestRegistrationIsRenewedAndWithdrawn(t *testing.T) {
	t.Parallel()
	w := newWire(t, "node-a", "pbx", "gw1", "sbc")
	registrar := w.hosts["sbc"].sipp(part{scenario: "registrar", port: sipPort, flags: []string{"-m", "1"}})
	w.hosts["gw1"].gateway(part{words: map[string]string{"challenge": scenario(t, "question", nil)}})
	n := w.hosts["node-a"].tandem(config(t, "digest"))
	contact := registrar.logs("registered", 1)[0]
	if !strings.Contains(contact, "198.18.0.1:5060") && !strings.HasSuffix(contact, "@198.18.0.1>") {
		t.Errorf("%s was registered, and the node is at 198.18.0.1:5060", contact)
	}
	n.awaitTrunk("sbc", "is registered", func(tr console.Trunk) bool { return strings.HasPrefix(tr.Registration, "registered") })
	caller := w.hosts["sbc"].call(dial{called: "+4312345", to: n.sip(sipPort)})
	caller.Finish()
	want := through("sbc", "gw1")
	want.called = "+4312345"
	n.tells(caller.logs("hung-up", 1)[0], want)
	if again := registrar.logs("renewed", 1)[0]; again != contact {
		t.Errorf("%s was renewed, and %s registered", again, contact)
	}
	n.close()
	registrar.logs("left", 1)
	registrar.Finish()
}
