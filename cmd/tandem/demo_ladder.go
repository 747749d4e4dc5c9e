package main

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"unicode/utf8"

	"tandem/internal/phone"
)

const rungWidth = 32 // characters between two columns

// ladder draws the SIP of one call: what the phone and the gateway saw go and come, Tandem in the middle.
func (s *stage) ladder(c *demoCall) string {
	s.mu.Lock()
	var seen []phone.Message
	for _, m := range s.trace {
		if m.CallID == c.near.ID() || m.CallID == c.far.ID() {
			seen = append(seen, m)
		}
	}
	s.mu.Unlock()
	slices.SortStableFunc(seen, func(a, b phone.Message) int { return a.At.Compare(b.At) })
	var b strings.Builder
	row := func(left, middle, right string) {
		fmt.Fprintf(&b, "%9s  %-*s%-*s%s\n", "", rungWidth+1, left, rungWidth+1, middle, right)
	}
	row("phone", "tandem", "gateway")
	row(s.uc.Address().String(), s.proxy.Addr().String(), s.gateway.Address().String())
	heard := false
	empty := strings.Repeat(" ", rungWidth)
	for _, m := range seen {
		if !heard && strings.HasPrefix(m.Summary, "BYE") {
			heard = true
			fmt.Fprintf(&b, "%9s  |%s|%s|\n", "", both("SRTP"), both("RTP"))
		}
		left, right := empty, empty
		if m.CallID == c.near.ID() {
			left = arrow(m.Summary, m.From == s.uc.Address())
		} else {
			right = arrow(m.Summary, m.To == s.gateway.Address())
		}
		fmt.Fprintf(&b, "%6.1f ms  |%s|%s|\n", milliseconds(m.At.Sub(seen[0].At)), left, right)
	}
	return b.String()
}

// arrow is one rung.
func arrow(text string, toRight bool) string {
	if toRight {
		return centred(" "+text+" ", "-", "-", ">")
	}
	return centred(" "+text+" ", "-", "<", "-")
}

// both is media that flows either way.
func both(text string) string { return centred(" "+text+" ", "=", "<", ">") }

// centred fills a rung with line on both sides of text, and gives it its ends.
func centred(text, line, left, right string) string {
	room := max(rungWidth-2-utf8.RuneCountInString(text), 0)
	return left + strings.Repeat(line, room/2) + text + strings.Repeat(line, room-room/2) + right
}

func rounded(x float64, digits int) float64 {
	unit := math.Pow10(digits)
	return math.Round(x*unit) / unit
}
