package report

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
)

// WriteJSON writes v, indented, to w.
func WriteJSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(v)
}

// SaveJSON writes v to a file, making its directory.
func SaveJSON(path string, v any) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	var b strings.Builder
	if err := WriteJSON(&b, v); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return writeWhole(path, []byte(b.String()))
}

// table is a Markdown table. The first row is its head.
type table [][]string

func (t table) String() string {
	var b strings.Builder
	for i, row := range t {
		fmt.Fprintf(&b, "| %s |\n", strings.Join(row, " | "))
		if i == 0 {
			b.WriteString(strings.Repeat("|---", len(row)) + "|\n")
		}
	}
	return b.String()
}

// row is one number of a side, as a person reads it.
type row struct {
	name string
	of   func(*Measures) string
}

const untimedRow = "of these packets could not be timed, %; p99 / p99.9 with them, us"

var rows = []row{
	{"lossless rate, packets/s", func(m *Measures) string { return ifAny(m.LosslessPPS, count(m.LosslessPPS)) }},
	{"at an offered rate of, packets/s", func(m *Measures) string { return count(m.OfferedPPS) }},
	{"delivered, packets/s", func(m *Measures) string { return count(m.DeliveredPPS) }},
	{"loss", func(m *Measures) string { return share(m.Loss) }},
	{"CPU per forward, ns", func(m *Measures) string { return count(m.NSPerForward) }},
	{"CPU of the relay's core, %", func(m *Measures) string { return fmt.Sprintf("%.0f", m.CPU.Percent) }},
	{"added delay p50 / p99 / p99.9 / max, us", func(m *Measures) string { return four(m.P50, m.P99, m.P999, m.Max) }},
	{untimedRow, func(m *Measures) string { return untimed(&m.Untimed) }},
	{"delay at 70 % of its lossless rate, us", func(m *Measures) string {
		if m.Delay == nil {
			return ""
		}
		return four(m.Delay.P50, m.Delay.P99, m.Delay.P999, m.Delay.Max)
	}},
	{untimedRow, func(m *Measures) string {
		if m.Delay == nil {
			return ""
		}
		return untimed(&m.Delay.Untimed)
	}},
	{"packets per receive / send call", func(m *Measures) string {
		if m.BatchIn == nil || m.BatchOut == nil {
			return ""
		}
		return fmt.Sprintf("%.1f / %.1f", *m.BatchIn, *m.BatchOut)
	}},
	{"allocations", func(m *Measures) string {
		if m.Allocs == nil || m.Allocations == nil {
			return ""
		}
		return fmt.Sprintf("%.0f in %s forwards (%d busy, %d idle)", *m.Allocs, count(float64(m.Allocations.Forwards)), m.Allocations.Busy, m.Allocations.Idle)
	}},
	{"resident memory, MB", func(m *Measures) string { return fmt.Sprintf("%.0f", m.RSS) }},
	{"path, by counters", func(m *Measures) string { return m.Path }},
}

// Table returns the comparison as Markdown: one column a side, and what they divide to.
func (c *Comparison) Table() string {
	sides := []*Measures{&c.Measures}
	if c.Rival != nil {
		sides = append(sides, c.Rival)
	}
	t := table{{fmt.Sprintf("%s, %d streams, medians of %d", c.Mode, c.Streams, len(c.Rounds))}}
	for _, s := range sides {
		t[0] = append(t[0], s.Engine)
	}
	for _, r := range rows {
		line, told := []string{r.name}, false
		for _, s := range sides {
			cell := r.of(s)
			told = told || cell != ""
			line = append(line, cell)
		}
		if told {
			t = append(t, line)
		}
	}
	return t.String() + c.ratios()
}

// ratios is the line below the table.
func (c *Comparison) ratios() string {
	if c.Ratio == nil {
		return ""
	}
	var parts []string
	if r := c.Ratio.RateRange; r != nil {
		parts = append(parts, fmt.Sprintf("lossless rate **%.2f x** (%.2f to %.2f)", c.Ratio.Rate, r[0], r[1]))
	}
	if r := c.Ratio.CPURange; r != nil {
		parts = append(parts, fmt.Sprintf("CPU per forward **%.2f x** (%.2f to %.2f)", c.Ratio.CPU, r[0], r[1]))
	}
	return "\n" + c.Engine + " against " + c.Rival.Engine + ", median and range over the rounds: " + strings.Join(parts, ", ") + ".\n"
}

// Caveats says in words under which conditions the numbers hold, and what the rig found that a reader must know.
func (c *Comparison) Caveats() string {
	var b strings.Builder
	b.WriteString(c.Conditions.Sentence() + "\n")
	if s := c.Stalls; s != nil {
		fmt.Fprintf(&b, "* a thread on the relay's CPU that looked at the clock for 70 %% of each millisecond, for %.0f s beside the rounds, was kept from running for %.1f %% of that time, "+
			"%.1f ms at a time at most: a server of constant cost a packet that is as busy has delays of p99 %s and p99.9 %s us by that alone\n",
			s.Seconds, 100*s.Share, s.Longest/1000, count(s.P99), count(s.P999))
	}
	for _, note := range c.Notes {
		b.WriteString("* " + note + "\n")
	}
	return b.String()
}

// Sentence is the conditions in words.
func (c *Conditions) Sentence() string {
	machine := "a machine"
	if c.Virtual {
		machine = "a virtual machine"
	}
	s := fmt.Sprintf("%s, %s with %d CPUs (%s), Linux %s, %s, tandem %s", c.Date, machine, c.CPUs, c.CPU, c.Kernel, c.Go, c.Tandem)
	if c.Rival != "" {
		s += ", " + c.Rival
	}
	if c.Tuning != "" {
		s += ", " + c.Tuning
	}
	return s + fmt.Sprintf("; load average before the run %s. `%s`", c.LoadAverage, c.Command)
}

// Table returns the sessions run as Markdown.
func (s *Sessions) Table() string {
	return table{
		{fmt.Sprintf("%d sessions, %s, %d requests in flight", s.Count, s.Engine, s.InFlight), ""},
		{"opened, per second", count(s.OpensPerS)},
		{"closed, per second", count(s.ClosesPerS)},
		{"resident memory per idle session, bytes", count(s.BytesPerIdle)},
	}.String()
}

// count writes a number in full with separators between thousands.
func count(v float64) string {
	digits := fmt.Sprintf("%.0f", v)
	for i := len(digits) - 3; i > 0 && digits[i-1] != '-'; i -= 3 {
		digits = digits[:i] + "," + digits[i:]
	}
	return digits
}

func untimed(u *Untimed) string {
	return fmt.Sprintf("%.1f; %s / %s", 100*u.Share, count(u.P99), count(u.P999))
}

func ifAny(v float64, text string) string {
	if v == 0 {
		return ""
	}
	return text
}

func four(p50, p99, p999, max float64) string {
	return fmt.Sprintf("%s / %s / %s / %s", count(p50), count(p99), count(p999), count(max))
}

// share writes a loss so that none and little are not confused.
func share(v float64) string {
	if v == 0 {
		return "0"
	}
	return fmt.Sprintf("%.1e", v)
}
