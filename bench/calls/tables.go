package calls

import (
	"encoding/csv"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Tally is what a sipp counted.
type Tally struct {
	Created       int
	Rate          float64 // calls/s at which it began them
	AtOnce        int     // the most calls that it had
	Succeeded     int
	Failed        int
	Retransmitted int       // messages that it sent again
	Dead          int       // messages to calls that were over
	Setups        []float64 // ms from each INVITE to its 200, ascending; sipp's clock counts whole ones
}

// readTally reads sipp's statistics, a row every now and then: cumulative columns end in (C), and the last row has them all.
func readTally(table string) (t Tally, err error) {
	r := csv.NewReader(strings.NewReader(table[:strings.LastIndexByte(table, '\n')+1])) // a sipp that was killed may have begun a row
	r.Comma, r.FieldsPerRecord, r.LazyQuotes = ';', -1, true
	rows, err := r.ReadAll()
	if err != nil {
		return t, fmt.Errorf("sipp's statistics: %w", err)
	}
	if len(rows) < 2 {
		return t, fmt.Errorf("sipp's statistics: no rows: it ended within %s", rowEvery)
	}
	names, last := rows[0], rows[len(rows)-1]
	for name, into := range map[string]*int{
		createdCalls: &t.Created, "SuccessfulCall(C)": &t.Succeeded, "FailedCall(C)": &t.Failed,
		"Retransmissions(C)": &t.Retransmitted, "DeadCallMsgs(C)": &t.Dead,
	} {
		n, err := cell(names, last, name)
		if err != nil {
			return t, err
		}
		*into = int(n)
	}
	return t, t.pace(names, rows[1:])
}

// Columns that every row is read for.
const (
	createdCalls = "TotalCallCreated"
	currentCalls = "CurrentCall"
	startTime    = "StartTime"
	currentTime  = "CurrentTime"

	leastSpan = 1.0 // seconds between two rows that tell a rate
)

// pace reads how fast calls were begun, and how many there were at once. The rows tell within a quarter of a second when the last
// call began; what comes after that is the end of calls, however long it takes.
func (t *Tally) pace(names []string, rows [][]string) error {
	var first, firstTook float64 // calls and seconds of the first row with any: sipp may begin late, or make up for it
	for _, row := range rows {
		var values [4]float64
		for i, name := range []string{createdCalls, currentCalls, startTime, currentTime} {
			v, err := cell(names, row, name)
			if err != nil {
				return err
			}
			values[i] = v
		}
		created, took := int(values[0]), values[3]-values[2]
		t.AtOnce = max(t.AtOnce, int(values[1]))
		if took <= 0 || t.Rate > 0 && created >= t.Created {
			continue
		}
		t.Rate = float64(min(created+1, t.Created)) / took // the next one is due, not begun
		if first == 0 {
			first, firstTook = values[0], took
		} else if span := took - firstTook; span >= leastSpan {
			t.Rate = max(t.Rate, (values[0]-first)/span)
		}
	}
	return nil
}

// cell is the number in a row's column. A moment is written as date, time and seconds since 1970, with tabs between them.
func cell(names, row []string, name string) (float64, error) {
	i := slices.Index(names, name)
	if i < 0 || i >= len(row) {
		return 0, fmt.Errorf("sipp's statistics: no column %s", name)
	}
	text := row[i][strings.LastIndexByte(row[i], '\t')+1:]
	v, err := strconv.ParseFloat(text, 64)
	if err != nil {
		return 0, fmt.Errorf("sipp's statistics: %s: %w", name, err)
	}
	return v, nil
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
