package main

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"tandem/signaling/trunk"
)

// view is what a person looks at: one picture, and how it is shown. It knows neither a terminal nor a clock.
type view struct {
	socket string
	calls  bool // the calls instead of the trunks
	filter string
	typing bool // keys go into filter
	sorted [2]struct {
		column  int
		reverse bool
	} // by calls
	top   int // the first row that is shown
	page  int // rows of the frame before
	color bool

	picture *picture // nil: none came yet
	err     error    // of the last look; nil: it went well
}

// saw takes what came of a look. After an error the picture before stays, and its age is shown.
func (v *view) saw(p *picture, err error) {
	if v.err = err; err == nil {
		v.picture = p
	}
}

// question is what the next look shall ask for.
func (v *view) question() question { return question{v.filter, v.calls} }

// key does what a key means.
func (v *view) key(k int) (quit bool) {
	if k == keyInterrupt {
		return true
	}
	if v.typing {
		v.edit(k)
		return false
	}
	s := &v.sorted[v.tab()]
	switch k {
	case 'q':
		return true
	case 't', 'c':
		v.calls, v.top = k == 'c', 0
	case 's':
		s.column, s.reverse = (s.column+1)%v.columns(), false
	case 'r':
		s.reverse = !s.reverse
	case '/':
		v.typing, v.filter, v.top = true, "", 0
	case keyEscape:
		v.filter, v.top = "", 0
	case keyUp, 'k':
		v.top--
	case keyDown, 'j':
		v.top++
	case keyPageUp:
		v.top -= v.page
	case keyPageDown, ' ':
		v.top += v.page
	}
	return false
}

const maxFilter = 40 // bytes: longer than any number

// edit types a filter.
func (v *view) edit(k int) {
	switch {
	case k == keyEnter:
		v.typing = false
	case k == keyEscape:
		v.typing, v.filter = false, ""
	case k == keyErase && v.filter != "":
		v.filter = v.filter[:len(v.filter)-1]
	case k > 0 && len(v.filter) < maxFilter:
		v.filter += string(rune(k))
	}
}

// tab is the index of what is shown.
func (v *view) tab() int {
	if v.calls {
		return 1
	}
	return 0
}

func (v *view) columns() int {
	if v.calls {
		return len(callColumns)
	}
	return len(trunkColumns)
}

// frame is the whole screen: as many lines as it has rows, each as wide as it is.
func (v *view) frame(width, height int) []string {
	lines := make([]string, 0, height)
	add := func(l string, style string) {
		if len(lines) < height {
			lines = append(lines, v.styled(fit(l, width), style))
		}
	}
	for _, l := range v.head() {
		style := ""
		if v.err != nil {
			style = styleBad
		}
		add(l, style)
	}
	shown := 0
	if v.picture != nil {
		title, rows := v.rows(width)
		add(title, styleTitle)
		v.page = max(1, height-len(lines)-1)
		v.top = max(0, min(v.top, len(rows)-v.page))
		for _, r := range rows[v.top:min(len(rows), v.top+v.page)] {
			add(r.text, r.style)
			shown++
		}
	}
	for len(lines) < height-1 {
		add("", "")
	}
	if len(lines) == height { // so small that there is no room for a footer
		return lines
	}
	add(v.foot(shown), styleTitle)
	return lines
}

// text is one frame for a pipe: both tables, as wide as they are, without any control sequence.
func (v *view) text(p *picture) string {
	v.picture = p
	var b strings.Builder
	for _, l := range v.head() {
		fmt.Fprintln(&b, strings.TrimRight(l, " "))
	}
	for _, v.calls = range []bool{false, true} {
		title, rows := v.rows(0)
		fmt.Fprintf(&b, "\n%s\n", strings.TrimRight(title, " "))
		for _, r := range rows {
			fmt.Fprintln(&b, strings.TrimRight(r.text, " "))
		}
	}
	return b.String()
}

// head is the node in two lines, or why it cannot be seen.
func (v *view) head() []string {
	if v.picture == nil {
		if v.err == nil {
			return []string{"tandem top: " + v.socket, "connecting ..."}
		}
		return []string{"tandem top: no node at " + v.socket + "; trying again", plain(v.err.Error())}
	}
	p := v.picture
	n := &p.Node
	first := fmt.Sprintf("tandem %s  %s  up %s  calls %d", plain(n.Node), plain(n.Version), short(time.Duration(n.UptimeMS)*time.Millisecond), n.Calls)
	if v.err != nil {
		return []string{first, fmt.Sprintf("THE NODE IS GONE since %s; trying again: %s", p.At.Format(time.TimeOnly), plain(v.err.Error()))}
	}
	if n.Draining {
		first += "  DRAINING"
	}
	if !n.Relay {
		first += "  NO RELAY"
	}
	count := map[trunk.State]int{}
	for i := range p.Trunks {
		count[p.Trunks[i].State]++
	}
	of := fmt.Sprint(len(p.Trunks))
	if n.Trunks != len(p.Trunks) {
		of += fmt.Sprintf(" of %d", n.Trunks)
	}
	second := fmt.Sprintf("trunks %s: %d up, %d demoted, %d down", of, count[trunk.Up], count[trunk.Demoted], count[trunk.Down])
	if sum := n.Config.SHA256; len(sum) >= 8 {
		second += "  config " + sum[:8]
	}
	if n := len(n.Config.Restart); n > 0 {
		second += fmt.Sprintf(", %d changes need a restart", n)
	}
	return []string{first, second}
}

// foot is what keys do, or what is typed.
func (v *view) foot(shown int) string {
	if v.typing {
		return "filter: " + v.filter + "_   (enter: done, escape: none)"
	}
	left := "q quit  t trunks  c calls  s sort  r reverse  / filter"
	if v.filter != "" {
		left += "=" + v.filter
	}
	if v.picture == nil {
		return left
	}
	of := len(v.picture.Trunks)
	if v.calls {
		of = v.picture.Found
	}
	return fmt.Sprintf("%s  %d-%d of %d", left, min(v.top+1, v.top+shown), v.top+shown, of)
}

// row is one line of a table.
type row struct{ text, style string }

// rows are the table that is shown; width 0 is as wide as it needs.
func (v *view) rows(width int) (title string, rows []row) {
	s := v.sorted[v.tab()]
	if v.calls {
		calls := slices.Clone(v.picture.Calls)
		arrange(calls, callColumns, s.column, s.reverse)
		return table(calls, callColumns, s.column, width, styleOfCall)
	}
	trunks := slices.Clone(v.picture.Trunks)
	arrange(trunks, trunkColumns, s.column, s.reverse)
	return table(trunks, trunkColumns, s.column, width, styleOfTrunk)
}

// Styles are what a terminal makes of a line (ECMA-48, SGR).
const (
	styleTitle = "7"  // the other way round
	styleBad   = "31" // red
	styleWarn  = "33" // yellow
)

func (v *view) styled(line, style string) string {
	if style == "" || !v.color && style != styleTitle {
		return line
	}
	return "\x1b[" + style + "m" + line + "\x1b[0m"
}

// fit makes a line exactly as wide as the screen.
func fit(s string, width int) string {
	if len(s) >= width {
		return s[:width]
	}
	return s + strings.Repeat(" ", width-len(s))
}

// plain makes foreign text fit for a terminal: whatever is no visible ASCII, control sequences above all, becomes a
// question mark, so that a byte is a column.
func plain(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return '?'
		}
		return r
	}, s)
}

// short is a duration in at most five characters: 59s, 59m, 23h59, 99d.
func short(d time.Duration) string {
	switch {
	case d < 0:
		return "0s"
	case d < time.Minute:
		return fmt.Sprintf("%ds", d/time.Second)
	case d < time.Hour:
		return fmt.Sprintf("%dm%02d", d/time.Minute, d%time.Minute/time.Second)
	case d < 24*time.Hour:
		return fmt.Sprintf("%dh%02d", d/time.Hour, d%time.Hour/time.Minute)
	}
	return fmt.Sprintf("%dd", d/(24*time.Hour))
}
