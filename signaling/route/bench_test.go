package route

import (
	"fmt"
	"strings"
	"testing"
)

// BenchmarkPlan plans a call of a large exchange: 200 routes, of which the last fits, to a group of four.
func BenchmarkPlan(b *testing.B) {
	for _, routes := range []int{10, 200} {
		var more strings.Builder
		for i := range routes {
			fmt.Fprintf(&more, "  - {name: r%d, usages: [national], match: '^\\+49%04d', to: [both]}\n", i, i)
		}
		w := table(b, strings.Replace(world, "routes:\n", "routes:\n"+more.String(), 1))
		call, board, dice := Call{"pbx", fmt.Sprintf("0049%04d12345", routes-1), "+43155200"}, board(), seeded(1)
		if p := w.Plan(call, board, dice); p.Route != fmt.Sprintf("r%d", routes-1) {
			b.Fatal(p.Reason())
		}
		b.Run(fmt.Sprint(routes), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				w.Plan(call, board, dice)
			}
		})
	}
}
