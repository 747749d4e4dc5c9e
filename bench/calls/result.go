package calls

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"tandem/bench/report"
)

// Result is a whole comparison, as --json prints it. Numbers of a side are medians over its rounds; failed is their sum.
type Result struct {
	Measures
	Rival      *Measures         `json:"rival,omitempty"`
	Ratio      *Ratio            `json:"ratio,omitempty"` // Tandem to rival
	Rounds     int               `json:"rounds"`
	Unfinished string            `json:"unfinished,omitempty"` // why the comparison ended early: numbers are of what was done by then
	Notes      []string          `json:"notes,omitempty"`
	Conditions report.Conditions `json:"conditions"`
}

// Measures are one side's.
type Measures struct {
	Name        string             `json:"name"`
	Version     string             `json:"version"`
	MaxCPS      float64            `json:"cps_max"`  // highest rate without a failed call
	Searched    bool               `json:"searched"` // false: cps_max is the rate that was asked for, if it was carried
	Verified    bool               `json:"verified"` // in every round cps_max held for as long as a run, not only for a step
	CPUPer1000  float64            `json:"cpu_s_per_1000"`
	RSS         float64            `json:"rss_mb"` // the most; memory that processes share counts once
	P50         float64            `json:"setup_p50_ms"`
	P99         float64            `json:"setup_p99_ms"`
	Failed      int                `json:"failed"`
	Rate        float64            `json:"rate"`               // calls a second of the runs that cpu, memory and set-up are of
	Held        bool               `json:"held"`               // in every round that rate was carried
	Why         string             `json:"not_held,omitempty"` // why not, of the first round that says
	Began       float64            `json:"began"`              // calls a second that sipp really began, the least of the rounds
	AtOnce      int                `json:"calls_at_once"`      // the most that the calling sipp had
	Calls       int                `json:"calls"`
	Resent      int                `json:"retransmitted"`
	RSSPerCPS   float64            `json:"rss_mb_per_cps"`
	Parts       map[string]float64 `json:"cpu_s_per_1000_by_part"`
	LoadPercent float64            `json:"load_cpu_percent"`
	StealMS     float64            `json:"steal_ms"`
	EachCPS     []float64          `json:"cps_max_each,omitempty"`
	EachCPU     []float64          `json:"cpu_s_per_1000_each"`
	Limit       string             `json:"limit,omitempty"`   // why cps_max may be the load's limit
	Problem     string             `json:"problem,omitempty"` // why a call failed, in the words of sipp
	Rest        *Rest              `json:"rest,omitempty"`
}

// Ratio is Tandem's figure divided by the rival's: median and range over the rounds.
type Ratio struct {
	Carried  bool        `json:"carried"` // both carried the rate that CPU is compared at; if not, CPU is of calls that failed or came late
	CPU      float64     `json:"cpu"`
	CPURange *[2]float64 `json:"cpu_range,omitempty"`
	CPS      float64     `json:"cps"`
	CPSRange *[2]float64 `json:"cps_range,omitempty"`
}

// receiving is the part of the kernel's receive thread.
const receiving = "kernel receive thread"

func (o *Options) result(sides []*contender) *Result {
	r := &Result{Rounds: o.Rounds, Measures: o.measures(sides[0])}
	for _, s := range sides {
		r.noteAll(s)
		if o.Quick && s.found != nil {
			r.note("highest rates held for " + quickStep.String() + " only")
		}
	}
	if len(sides) < 2 {
		return r
	}
	rival := o.measures(sides[1])
	r.Rival = &rival
	cpu, cps := quotients(r.EachCPU, rival.EachCPU), quotients(r.EachCPS, rival.EachCPS)
	r.Ratio = &Ratio{Carried: r.Held && rival.Held, CPU: report.Median(cpu), CPURange: report.Range(cpu), CPS: report.Median(cps), CPSRange: report.Range(cps)}
	if cps == nil && rival.MaxCPS > 0 {
		r.Ratio.CPS = r.MaxCPS / rival.MaxCPS
	}
	return r
}

// noteAll says what a reader must know of a side beside its numbers.
func (r *Result) noteAll(s *contender) {
	name := s.gateway.Name()
	for i, f := range s.found {
		if f.cut != "" {
			held := "held for a step only"
			if f.verified {
				held = "held for a run"
			}
			r.note(fmt.Sprintf("%s, round %d: the search ended %s; %.0f calls/s %s", name, i+1, f.cut, f.rate, held))
		}
	}
	if i := slices.IndexFunc(s.found, func(f found) bool { return f.limit != "" }); i >= 0 {
		r.note(fmt.Sprintf("%s may carry more than its highest rate says: %s", name, s.found[i].limit))
	}
	for _, what := range s.oddities {
		r.note(fmt.Sprintf("%s, %s", name, what))
	}
	for i := range s.rounds {
		out := &s.rounds[i]
		for _, what := range []string{out.doubt(), ifAny("not carried: ", out.fault()), out.leftover(), out.Farewell} {
			if what != "" {
				r.note(fmt.Sprintf("%s, round %d: %s", name, i+1, what))
			}
		}
	}
}

func ifAny(before, text string) string {
	if text == "" {
		return ""
	}
	return before + text
}

func (r *Result) note(text string) {
	if !slices.Contains(r.Notes, text) {
		r.Notes = append(r.Notes, text)
	}
}

// quotients divides round by round.
func quotients(ours, theirs []float64) (q []float64) {
	for i := range min(len(ours), len(theirs)) {
		if theirs[i] > 0 {
			q = append(q, ours[i]/theirs[i])
		}
	}
	return q
}

// measures takes the medians of a side.
func (o *Options) measures(s *contender) Measures {
	median := func(of func(*Outcome) float64) float64 {
		values := make([]float64, len(s.rounds))
		for i := range s.rounds {
			values[i] = of(&s.rounds[i])
		}
		return report.Median(values)
	}
	m := Measures{
		Name: s.gateway.Name(), Version: s.version, Searched: s.found != nil, EachCPS: s.rates(), Parts: map[string]float64{}, Rest: s.rest,
		CPUPer1000: median((*Outcome).PerThousand), RSS: median(func(o *Outcome) float64 { return mega(o.Memory) }),
		P50: median(func(o *Outcome) float64 { return o.P50 }), P99: median(func(o *Outcome) float64 { return o.P99 }),
		LoadPercent: median(func(o *Outcome) float64 { return o.Load }), StealMS: median(func(o *Outcome) float64 { return o.Steal.Seconds() * 1000 }),
	}
	m.Held = len(s.rounds) > 0
	for i := range s.rounds {
		out := &s.rounds[i]
		m.Rate, m.Calls, m.Failed, m.Resent = out.Rate, m.Calls+out.Calls, m.Failed+out.Failed, m.Resent+out.Resent
		m.EachCPU = append(m.EachCPU, out.PerThousand())
		if i == 0 || out.Began < m.Began {
			m.Began = out.Began
		}
		m.AtOnce = max(m.AtOnce, out.AtOnce)
		m.Held = m.Held && out.held()
		if m.Why == "" {
			m.Why = out.fault()
		}
		if m.Problem == "" {
			m.Problem = out.Problem
		}
	}
	if len(s.rounds) > 0 {
		for name := range s.rounds[0].CPU {
			m.Parts[name] = median(func(o *Outcome) float64 { return o.CPU[name].Seconds() / float64(max(o.Calls, 1)) * 1000 })
		}
		m.Parts[receiving] = median(func(o *Outcome) float64 { return o.NAPI.Seconds() / float64(max(o.Calls, 1)) * 1000 })
		m.RSSPerCPS = m.RSS / m.Rate
	}
	if m.Searched {
		m.MaxCPS = report.Median(m.EachCPS)
		m.Verified = !slices.ContainsFunc(s.found, func(f found) bool { return !f.verified })
	} else if m.Held {
		m.MaxCPS = m.Rate
	}
	for _, f := range s.found {
		if m.Limit == "" {
			m.Limit = f.limit
		}
	}
	return m
}

// Table returns the comparison as Markdown.
func (r *Result) Table() string {
	sides := []*Measures{&r.Measures}
	if r.Rival != nil {
		sides = append(sides, r.Rival)
	}
	var b strings.Builder
	line := func(name string, cell func(*Measures) string) {
		fmt.Fprintf(&b, "| %s |", name)
		for _, m := range sides {
			fmt.Fprintf(&b, " %s |", cell(m))
		}
		b.WriteByte('\n')
	}
	line(fmt.Sprintf("calls of %s, media set up, medians of %d", CallTime, r.Rounds), func(m *Measures) string { return m.Name })
	b.WriteString("|---|" + strings.Repeat("---|", len(sides)) + "\n")
	line("highest rate without a failed call, calls/s", func(m *Measures) string {
		if !m.Searched {
			return "not searched"
		}
		if !m.Verified {
			return fmt.Sprintf("%.0f, for a short while", m.MaxCPS)
		}
		return fmt.Sprintf("%.0f", m.MaxCPS)
	})
	line("at an offered rate of, calls/s", func(m *Measures) string { return fmt.Sprintf("%.0f", m.Rate) })
	line("calls/s that sipp began (calls at once)", func(m *Measures) string { return fmt.Sprintf("%.0f (%d)", m.Began, m.AtOnce) })
	line("carried", func(m *Measures) string {
		if m.Held {
			return "yes"
		}
		return ifAny("no: ", strings.NewReplacer("|", "/", "\n", " ").Replace(m.Why))
	})
	line("CPU-seconds per 1,000 calls", func(m *Measures) string { return fmt.Sprintf("%.3f", m.CPUPer1000) })
	line("of these", func(m *Measures) string {
		var parts []string
		for _, name := range slices.Sorted(maps.Keys(m.Parts)) {
			parts = append(parts, fmt.Sprintf("%s %.3f", name, m.Parts[name]))
		}
		return strings.Join(parts, ", ")
	})
	line("set-up p50 / p99, ms", func(m *Measures) string { return fmt.Sprintf("%.1f / %.1f", m.P50, m.P99) })
	line("failed, of calls", func(m *Measures) string { return fmt.Sprintf("%d of %d", m.Failed, m.Calls) })
	line("messages that sipp sent again", func(m *Measures) string { return fmt.Sprint(m.Resent) })
	line("memory at most, MB (a call/s)", func(m *Measures) string { return fmt.Sprintf("%.0f (%.2f)", m.RSS, m.RSSPerCPS) })
	line("sipps' CPU, %", func(m *Measures) string { return fmt.Sprintf("%.0f", m.LoadPercent) })
	return b.String() + r.below()
}

// below is what stands under the table.
func (r *Result) below() string {
	var b strings.Builder
	if r.Unfinished != "" {
		fmt.Fprintf(&b, "\n**Not finished**: %s. The figures are of what was done by then.\n", r.Unfinished)
	}
	if r.Ratio != nil {
		fmt.Fprintf(&b, "\n%s against %s, median and range over the rounds: CPU per call **%.2f x**%s", r.Name, r.Rival.Name, r.Ratio.CPU, between(r.Ratio.CPURange))
		if r.Searched {
			fmt.Fprintf(&b, ", highest rate **%.2f x**%s", r.Ratio.CPS, between(r.Ratio.CPSRange))
		}
		b.WriteString(".\n")
		if !r.Ratio.Carried {
			b.WriteString("**CPU is not comparable**: the rate was not carried by both in every round.\n")
		}
	}
	if rest := r.Rest; rest != nil {
		what := "goroutines and heap were back"
		if !rest.Returned {
			what = "not back: " + rest.Left
		}
		fmt.Fprintf(&b, "\n%.0f s after the last call: %s (", rest.Took, what)
		for i, part := range slices.Sorted(maps.Keys(rest.Goroutines)) {
			if i > 0 {
				b.WriteString("; ")
			}
			fmt.Fprintf(&b, "%s: %d goroutines, before %d, heap %.1f MB, before %.1f", part, rest.Goroutines[part], rest.Started[part], rest.HeapMB[part], rest.HeapStart[part])
		}
		b.WriteString(").\n")
	}
	b.WriteString("\n" + r.Conditions.Sentence() + "\n")
	for _, note := range r.Notes {
		b.WriteString("* " + note + "\n")
	}
	return b.String()
}

func between(r *[2]float64) string {
	if r == nil {
		return ""
	}
	return fmt.Sprintf(" (%.2f to %.2f)", r[0], r[1])
}
