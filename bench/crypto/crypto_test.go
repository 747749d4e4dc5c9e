package crypto

import (
	"strings"
	"testing"
	"time"

	"tandem/relay/srtp"
	"tandem/relay/srtp/kernel"
)

func TestEveryTierAndImplementationHasItsFigures(t *testing.T) {
	results, leftOut, err := Measure(Options{
		Suites: []srtp.Suite{srtp.AES128CM80, srtp.AES192CM80}, Batches: []int{1, 3}, Runs: 3, Run: time.Millisecond,
	})
	if err != nil {
		t.Fatal(err)
	}
	count := map[string]int{}
	for _, r := range results {
		count[r.Impl]++
		if r.NS <= 0 {
			t.Errorf("%+v: no time passed", r)
		}
		if r.Impl == "tandem" && r.Allocs >= 0.5 {
			t.Errorf("%+v: it allocates", r)
		}
	}
	if want := 2 * 2 * 2 * len(kernel.Tiers()); count["tandem"] != want {
		t.Errorf("%d figures of ours, want %d", count["tandem"], want)
	}
	if count["pion"] != 2 {
		t.Errorf("%d figures of pion, want 2", count["pion"])
	}
	named := strings.Join(leftOut, "; ")
	if count["libsrtp"] == 0 && !strings.Contains(named, "libsrtp") {
		t.Errorf("libsrtp has no figures, and nothing says why: %s", named)
	}
	if !strings.Contains(named, "pion/srtp/v2 has no AES_192_CM_HMAC_SHA1_80") {
		t.Errorf("what pion does not have is not named: %q", named)
	}
}

func TestAPrefixWithoutALibraryIsAnError(t *testing.T) {
	_, _, err := measureLibSRTP(&Options{LibSRTP: t.TempDir(), Runs: 1, Run: time.Millisecond, Log: t.Logf})
	if err == nil || !strings.Contains(err.Error(), "srtp2/srtp.h") {
		t.Errorf("got %v, want an error that names the header", err)
	}
}

func TestTheHelpersLinesBecomeFigures(t *testing.T) {
	o := Options{Suites: []srtp.Suite{srtp.AES128CM80, srtp.AES128GCM}}
	results, leftOut, err := readLibSRTP(&o, []byte("VERSION libsrtp2 2.5.0\nAES_CM_128_HMAC_SHA1_80 seal 345.5\n"+
		"AES_CM_128_HMAC_SHA1_32 seal 300\nMISSING AEAD_AES_128_GCM\nMISSING AEAD_AES_128_GCM\n"))
	if err != nil {
		t.Fatal(err)
	}
	if want := (Result{"libsrtp", "AES_CM_128_HMAC_SHA1_80", "seal", "2.5.0", 1, 345.5, -1}); len(results) != 1 || results[0] != want {
		t.Errorf("got %+v, want %+v", results, want)
	}
	if len(leftOut) != 1 || !strings.Contains(leftOut[0], "AEAD_AES_128_GCM") {
		t.Errorf("left out: %q", leftOut)
	}
	for _, bad := range []string{"a b c\n", "hello\n"} {
		if _, _, err := readLibSRTP(&o, []byte(bad)); err == nil {
			t.Errorf("%q was read", bad)
		}
	}
}

func TestTableHasARowForEachTierAndAColumnForEachBatch(t *testing.T) {
	got := Table([]Result{{"tandem", "S", "seal", "vaes", 1, 100, 0}, {"tandem", "S", "seal", "vaes", 16, 50.4, 0}, {"pion", "S", "seal", "v2", 1, 400, 3}})
	want := "| suite, ns per packet | op | by | batch of 1 | batch of 16 |\n|---|---|---|---|---|\n" +
		"| S | seal | tandem vaes | 100 | 50 |\n| S | seal | pion v2 | 400 | |\n"
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}
