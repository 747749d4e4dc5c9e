package identity

import "testing"

// FuzzAuthorities: what is taken of a file of authorities is all of it.
func FuzzAuthorities(f *testing.F) {
	ca := newAuthority(f, "ca")
	one := text("CERTIFICATE", ca.cert.Raw)
	for _, seed := range []string{one, one + one, one + one[:len(one)/2], "comment\n" + one, text("PRIVATE KEY", []byte("x")) + one, "", "-----BEGIN "} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		a, err := readAuthorities(raw)
		if (a == nil) == (err == nil) {
			t.Fatalf("%v and %v", a, err)
		}
		if err == nil && (len(a.list) == 0 || earliest("x", a.list).At.IsZero()) {
			t.Fatalf("%d authorities", len(a.list))
		}
	})
}
