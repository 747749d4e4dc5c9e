package route

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode/utf8"
)

// Print writes the explanation for people. file is the config's name, which stands before each line number. Errors of w are
// w's to remember.
func (e *Explanation) Print(w io.Writer, file string) {
	fmt.Fprintf(w, "A call enters by %s, from %q to %q.\n%s\n", e.Trunk, e.From, e.To, e.assumed())
	p := printer{w, file}
	p.section("Number", p.steps(e.Steps, KindDialPlan))
	if e.Called == e.To && !slices.ContainsFunc(e.Steps, func(s Step) bool { return s.Kind == KindDialPlan && s.Verdict == Fits }) {
		p.unchanged(e)
	}
	p.section("Routes", p.steps(e.Steps, KindRoute, KindGroup))
	var others []row
	for _, n := range e.NotAsked {
		others = append(others, row{p.place(n.Line), "route " + n.Route, "-", n.Why})
	}
	p.section("Routes not looked at", others)
	p.trunks(e)
	switch {
	case e.Code != 0:
		fmt.Fprintf(w, "\nRefused with %d: %s.\n", e.Code, e.Why)
	case len(e.Hops) == 1:
		fmt.Fprintf(w, "\nIf %s fails, the caller gets its answer, or 504 if there was none.\n", e.Hops[0].Trunk)
	default:
		io.WriteString(w, "\nIf all of them fail, the caller gets the answer of the last one, or 504 if there was none.\n")
	}
}

// assumed says what is known of health and places.
func (e *Explanation) assumed() string {
	var but []string
	for _, a := range []struct {
		names []string
		state string
	}{{e.Down, "down"}, {e.Demoted, "demoted"}, {e.Resting, "resting"}, {e.Full, "full"}} {
		for _, name := range a.names {
			but = append(but, name+" "+a.state)
		}
	}
	s := "Trunks are assumed up and empty"
	if e.Live {
		s = "Health and places are those of the running node"
	}
	if len(but) > 0 {
		s += ", but " + strings.Join(but, ", ")
	}
	return s + "."
}

// PrintDeciding writes the steps that decided, indented: the rules that fit; where none of a kind did, all of that kind; then
// who was left out, and the refusal.
func (e *Explanation) PrintDeciding(w io.Writer, file string) {
	decided := func(kind Kind) bool {
		return slices.ContainsFunc(e.Steps, func(s Step) bool { return s.Kind == kind && s.Verdict == Fits })
	}
	dialled, routed := decided(KindDialPlan), decided(KindRoute)
	steps := slices.DeleteFunc(slices.Clone(e.Steps), func(s Step) bool {
		return s.Verdict != Fits && (s.Kind == KindDialPlan && dialled || s.Kind == KindRoute && routed)
	})
	for _, h := range e.Hops {
		steps = append(steps, h.Steps...)
	}
	p := printer{w, file}
	p.rows("    ", p.steps(steps, KindDialPlan, KindRoute, KindGroup, KindCalled, KindCalling))
	for _, s := range e.Skips {
		fmt.Fprintf(w, "    %s left out: %s\n", s.Trunk, s.Why)
	}
	if e.Code != 0 {
		fmt.Fprintf(w, "    refused with %d: %s\n", e.Code, e.Why)
	}
}

// printer lays out rows; file stands before line numbers.
type printer struct {
	w    io.Writer
	file string
}

// unchanged says that no dial plan touched the number.
func (p printer) unchanged(e *Explanation) {
	if len(p.steps(e.Steps, KindDialPlan)) > 0 {
		io.WriteString(p.w, "  no rule fits: the number stays as it was dialled\n")
		return
	}
	fmt.Fprintf(p.w, "\nNumber\n  trunk %s has no dial plan: the number stays as it was dialled\n", e.Trunk)
}

// row is one rule: where it stands, what it is, whether it fits, and why.
type row struct {
	place, title, verdict, why string
}

// place is file:line, or nothing for what the file does not say.
func (p printer) place(line int) string {
	if line == 0 {
		return ""
	}
	return fmt.Sprintf("%s:%d", p.file, line)
}

// steps makes rows of the steps of some kinds.
func (p printer) steps(steps []Step, kinds ...Kind) []row {
	var rows []row
	for _, s := range steps {
		if !slices.Contains(kinds, s.Kind) {
			continue
		}
		verdict := "yes"
		switch {
		case s.Verdict != Fits:
			verdict = "no"
		case s.Kind == KindGroup:
			verdict = ""
		}
		title := s.Title()
		if s.Kind != KindDialPlan && s.Kind != KindGroup && s.By != "" {
			title += " (" + s.By + ")"
		}
		rows = append(rows, row{p.place(s.Line), title, verdict, s.Because()})
	}
	return rows
}

// section writes rows under a title, in columns.
func (p printer) section(title string, rows []row) {
	if len(rows) == 0 {
		return
	}
	fmt.Fprintf(p.w, "\n%s\n", title)
	p.rows("  ", rows)
}

func (p printer) rows(indent string, rows []row) {
	var place, title int
	for _, r := range rows {
		place, title = max(place, utf8.RuneCountInString(r.place)), max(title, utf8.RuneCountInString(r.title))
	}
	for _, r := range rows {
		fmt.Fprintf(p.w, "%s%-*s  %-*s  %-3s  %s\n", indent, place, r.place, title, r.title, r.verdict, r.why)
	}
}

// trunks writes the hops with their numbers, and who was left out.
func (p printer) trunks(e *Explanation) {
	if len(e.Hops)+len(e.Skips) == 0 {
		return
	}
	io.WriteString(p.w, "\nTrunks, in the order of trying\n")
	width := 0
	for _, h := range e.Hops {
		width = max(width, len(h.Trunk))
	}
	for _, s := range e.Skips {
		width = max(width, len(s.Trunk))
	}
	for i, h := range e.Hops {
		fmt.Fprintf(p.w, "  %2d. %-*s  to %q, from %q", i+1, width, h.Trunk, h.Called, h.Caller)
		if h.Drawn != "" {
			fmt.Fprintf(p.w, "  (drawn for each call: %s)", h.Drawn)
		}
		if h.Health != "" {
			fmt.Fprintf(p.w, "  (%s)", h.Health)
		}
		io.WriteString(p.w, "\n")
		p.rows("        ", p.steps(h.Steps, KindCalled, KindCalling))
	}
	for _, s := range e.Skips {
		fmt.Fprintf(p.w, "   -  %-*s  left out: %s\n", width, s.Trunk, s.Why)
	}
}
