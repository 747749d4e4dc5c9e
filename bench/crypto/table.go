package crypto

import (
	"fmt"
	"slices"
	"strings"
)

// Table shows the figures as Markdown: for each suite and operation a row a tier, and the others beside it.
func Table(results []Result) string {
	var b strings.Builder
	batches := column(results, func(r Result) int { return r.Batch })
	slices.Sort(batches)
	b.WriteString("| suite, ns per packet | op | by |")
	for _, n := range batches {
		fmt.Fprintf(&b, " batch of %d |", n)
	}
	b.WriteString("\n|" + strings.Repeat("---|", 3+len(batches)) + "\n")
	type row struct{ suite, op, impl, tier string }
	for _, at := range column(results, func(r Result) row { return row{r.Suite, r.Op, r.Impl, r.Tier} }) {
		fmt.Fprintf(&b, "| %s | %s | %s %s |", at.suite, at.op, at.impl, at.tier)
		for _, n := range batches {
			i := slices.IndexFunc(results, func(r Result) bool { return row{r.Suite, r.Op, r.Impl, r.Tier} == at && r.Batch == n })
			if i < 0 {
				b.WriteString(" |")
				continue
			}
			fmt.Fprintf(&b, " %.0f |", results[i].NS)
		}
		b.WriteString("\n")
	}
	return b.String()
}

// column lists the distinct values that f finds, in the order of their first coming.
func column[T comparable](results []Result, f func(Result) T) (list []T) {
	for _, r := range results {
		if v := f(r); !slices.Contains(list, v) {
			list = append(list, v)
		}
	}
	return list
}
