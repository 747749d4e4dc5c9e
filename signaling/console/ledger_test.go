package console

import (
	"testing"
	"time"

	"tandem/signaling/b2bua"
)

// heard is a record of one call whose peer on gw1 was heard with this loss and MOS.
func heard(end time.Time, lost int64, mos float64) *b2bua.CallRecord {
	return &b2bua.CallRecord{To: "gw1", End: end, Media: []b2bua.MediaRecord{
		{Leg: "b", Packets: 100, Expected: 100, Lost: lost, JitterMS: 2, MOS: mos},
	}}
}

func TestQualityIsTheMeanOfRecentCallsOnly(t *testing.T) {
	l := NewLedger()
	l.Note(heard(noon.Add(-recentTime-time.Second), 100, 1)) // long ago
	l.Note(heard(noon, 0, 4))
	l.Note(heard(noon, 10, 3))
	l.Note(heard(noon, -5, 4))                                                                                   // duplicates mend nothing
	l.Note(&b2bua.CallRecord{To: "gw1", End: noon, Media: []b2bua.MediaRecord{{Leg: "b"}}})                      // nothing was heard
	l.Note(&b2bua.CallRecord{From: "uc", End: noon, Media: []b2bua.MediaRecord{{Leg: "b", Packets: 1, MOS: 1}}}) // nobody answered
	q, ok := l.Quality("gw1", noon)
	if !ok || q.Calls != 3 || q.WorstMOS != 3 || q.JitterMS != 2 || q.MOS != 11.0/3 || q.Loss != 100*10.0/300 {
		t.Errorf("%+v", q)
	}
	if q, ok := l.Quality("gw1", noon.Add(recentTime+time.Second)); ok {
		t.Errorf("what is old is not recent: %+v", q)
	}
	for _, name := range []string{"", "uc", "gw2"} {
		if q, ok := l.Quality(name, noon); ok {
			t.Errorf("%q: %+v", name, q)
		}
	}
}

func TestOnlyTheLastHundredCallsCount(t *testing.T) {
	l := NewLedger()
	for range 50 {
		l.Note(heard(noon, 100, 1))
	}
	for range recentCalls {
		l.Note(heard(noon, 0, 4.4))
	}
	if q, ok := l.Quality("gw1", noon); !ok || q.Calls != recentCalls || q.Loss != 0 || q.WorstMOS != 4.4 {
		t.Errorf("%+v", q)
	}
}

func TestTrunksThatAreGoneAreForgotten(t *testing.T) {
	l := NewLedger()
	l.Note(heard(noon, 0, 4))
	l.Keep(func(name string) bool { return name == "gw1" })
	if _, ok := l.Quality("gw1", noon); !ok {
		t.Error("one that stays is gone")
	}
	l.Keep(func(string) bool { return false })
	if _, ok := l.Quality("gw1", noon); ok || len(l.trunks) != 0 {
		t.Error("one that is gone stays")
	}
}
