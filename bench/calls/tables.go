package calls

import (
	"encoding/csv"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Tally is what a sipp counted.
type Tally struct {
	Created       int
	Succeeded     int
	Failed        int
	Retransmitted int       // messages that it sent again
	Dead          int       // messages to calls that were over
	Setups        []float64 // ms from each INVITE to its 200, ascending; sipp's clock counts whole ones
}

// readTally reads the last row of sipp's statistics: cumulative columns end in (C).
func readTally(table string) (t Tally, err error) {
	r := csv.NewReader(strings.NewReader(table))
	r.Comma, r.FieldsPerRecord, r.LazyQuotes = ';', -1, true
	rows, err := r.ReadAll()
	if err != nil {
		return t, fmt.Errorf("sipp's statistics: %w", err)
	}
	if len(rows) < 2 {
		return t, errors.New("sipp's statistics: no rows: it ended within a second")
	}
	names, last := rows[0], rows[len(rows)-1]
	for name, into := range map[string]*int{
		"TotalCallCreated": &t.Created, "SuccessfulCall(C)": &t.Succeeded, "FailedCall(C)": &t.Failed,
		"Retransmissions(C)": &t.Retransmitted, "DeadCallMsgs(C)": &t.Dead,
	} {
		i := slices.Index(names, name)
		if i < 0 || i >= len(last) {
			return t, fmt.Errorf("sipp's statistics: no column %s", name)
		}
		if *into, err = strconv.Atoi(last[i]); err != nil {
			return t, fmt.Errorf("sipp's statistics: %s: %w", name, err)
		}
	}
	return t, nil
}

// readSetups reads sipp's table of response times: a header, then "date;ms;name".
func readSetups(table string) (ms []float64, err error) {
	for line := range strings.Lines(table) {
		cells := strings.Split(strings.TrimSpace(line), ";")
		if len(cells) < 2 || strings.HasPrefix(cells[0], "Date") {
			continue
		}
		v, err := strconv.ParseFloat(strings.TrimSpace(cells[1]), 64)
		if err != nil {
			return nil, fmt.Errorf("sipp's response times: %q: %w", line, err)
		}
		ms = append(ms, v)
	}
	slices.Sort(ms)
	return ms, nil
}

// quantile returns the value below which a share of the ascending values lies, 0 of none.
func quantile(ascending []float64, share float64) float64 {
	if len(ascending) == 0 {
		return 0
	}
	return ascending[min(int(share*float64(len(ascending))), len(ascending)-1)]
}
