package trunk

import (
	"context"
	"encoding/json"
	"net/netip"
	"strings"
	"testing"
	"time"

	"tandem/signaling/trunk/names"
)

func TestStatusAsJSONHasEverythingThatPeopleAskFor(t *testing.T) {
	clk := newClock()
	zone := pool(names.Service{Host: "b", Port: 5060, Priority: 20, Weight: 7}, names.Service{Host: "d", Port: 5070, Priority: 10, Weight: 3})
	zone.answers["d"] = []string{"198.51.100.4", "2001:db8::4"}
	text := strings.Replace(pools, "u: {", "u: {site: vienna, max_calls: 9, max_cps: 8, max_bandwidth: 700, ", 1)
	text = strings.Replace(text, "trunks:", "sites: {vienna: {policy: {}}}\ntrunks:", 1)
	tab := tableOf(t, text, zone, clk)
	tr := trunkOf(t, tab, "u")
	if err := tab.Refresh(context.Background()); err != nil {
		t.Fatal(err)
	}
	clk.advance(10 * time.Second)
	tr.AddressFailed(netip.MustParseAddrPort("198.51.100.2:5060"), clk.now())
	for range 3 {
		take(t, tr, Ask{Bandwidth: 80}, clk.now(), "")
		tr.Tried()
	}
	tr.Connected()
	tr.Failed(0, "connection refused")
	tr.Failed(503, "no circuit")
	tr.Missed(clk.now())
	tr.Answered(503, clk.advance(time.Second))
	tr.RetryAfter(90*time.Second, clk.now())
	tr.SetRegistration("registered until 22:13:20")
	got, err := json.Marshal(tr.Snapshot(clk.advance(500 * time.Millisecond)))
	if err != nil {
		t.Fatal(err)
	}
	at := func(after time.Duration) string {
		return newClock().now().Add(after).Format(time.RFC3339Nano)
	}
	want := `{"name":"u","peer":"pool.example.net","listener":"udp","transport":"udp","site":"vienna",` +
		`"state":"demoted","since":"` + at(11*time.Second) + `","misses":0,"last_code":503,"last_answer":"` + at(11*time.Second) + `",` +
		`"rest_seconds":90,"registration":"registered until 22:13:20",` +
		`"calls":3,"max_calls":9,"cps":0,"max_cps":8,"bandwidth":240,"max_bandwidth":700,` +
		`"addresses":[{"address":"198.51.100.4:5070","host":"d","priority":10,"weight":3,"ttl":48,"failed":false,"other_family":false},` +
		`{"address":"[2001:db8::4]:5070","host":"d","priority":10,"weight":3,"ttl":48,"failed":false,"other_family":true},` +
		`{"address":"198.51.100.2:5060","host":"b","priority":20,"weight":7,"ttl":48,"failed":true,"other_family":false}],"dns_asked":true,` +
		`"counters":{"attempts":3,"connected":1,"failed":2,"failed_classes":[1,0,0,0,0,1,0],"refused":0},` +
		`"last_error":{"code":503,"why":"no circuit","at":"` + at(10*time.Second) + `"}}`
	if string(got) != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	var back Status
	if err := json.Unmarshal(got, &back); err != nil || back.State != Demoted || len(back.Addresses) != 3 {
		t.Errorf("read back: %+v, %v", back, err)
	}
}

func TestStatusOfAnIdleTrunkLeavesOutWhatNeverHappened(t *testing.T) {
	clk := newClock()
	got, err := json.Marshal(tableOf(t, capped, &dns{}, clk).Snapshot(clk.now())[0])
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{"last_code", "last_answer", "last_error", "registration", "site", "dns_error"} {
		if strings.Contains(string(got), `"`+key+`"`) {
			t.Errorf("%s is in %s", key, got)
		}
	}
	if want := `"addresses":[{"address":"198.51.100.4:5060","host":"198.51.100.4","priority":0,"weight":0,"ttl":0,`; !strings.Contains(string(got), want) {
		t.Errorf("%s has no %s", got, want)
	}
}

func TestStatesAreReadAsTheyAreWritten(t *testing.T) {
	for _, s := range []State{Up, Demoted, Down} {
		text, _ := s.MarshalText()
		var back State
		if err := back.UnmarshalText(text); err != nil || back != s {
			t.Errorf("%s: %s, %v", text, back, err)
		}
	}
	var s State
	if err := s.UnmarshalText([]byte("upp")); err == nil || err.Error() != `trunk state "upp" is not up, demoted or down` {
		t.Errorf("%v", err)
	}
}

func TestCallsPerSecondAreThoseOfTheLastSecond(t *testing.T) {
	clk := newClock()
	tr := trunkOf(t, tableOf(t, capped, &dns{}, clk), "open")
	expect := func(want int) {
		t.Helper()
		for range 2 { // looking changes nothing
			if got := tr.Snapshot(clk.now()).CPS; got != want {
				t.Errorf("%d, want %d", got, want)
			}
		}
	}
	expect(0)
	for range 20 { // ten a second, for two seconds
		take(t, tr, Ask{}, clk.now(), "")
		clk.advance(100 * time.Millisecond)
	}
	expect(9)
	clk.advance(500 * time.Millisecond)
	expect(4)
	take(t, tr, Ask{}, clk.now(), "")
	expect(5)
	clk.advance(time.Hour)
	expect(0)
}

func TestReasonOfAFailureIsKeptShort(t *testing.T) {
	tr := trunkOf(t, tableOf(t, capped, &dns{}, newClock()), "open")
	tr.Failed(486, strings.Repeat("x", 1000))
	if got := tr.Snapshot(newClock().now()).LastError; len(got.Why) != whyMost {
		t.Errorf("%d bytes", len(got.Why))
	}
}
