package report

import "slices"

// Median returns the middle value, or the mean of the two middle ones; of nothing, 0.
func Median(values []float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	n := len(sorted)
	switch {
	case n == 0:
		return 0
	case n%2 == 1:
		return sorted[n/2]
	}
	return (sorted[n/2-1] + sorted[n/2]) / 2
}

// Range returns the least and the greatest value, or nil of nothing.
func Range(values []float64) *[2]float64 {
	if len(values) == 0 {
		return nil
	}
	return &[2]float64{slices.Min(values), slices.Max(values)}
}

// Compare turns rounds into medians and ratios. Conditions and notes are left to the caller.
func Compare(rounds []Round) Comparison {
	c := Comparison{Rounds: rounds}
	if len(rounds) == 0 {
		return c
	}
	var tandem, rival []Measures
	var rates, cpus []float64
	for i := range rounds {
		r := &rounds[i]
		tandem = append(tandem, r.Tandem)
		if r.Rival == nil {
			continue
		}
		rival = append(rival, *r.Rival)
		if r.Rival.LosslessPPS > 0 && r.Tandem.LosslessPPS > 0 {
			r.Rate = r.Tandem.LosslessPPS / r.Rival.LosslessPPS
			rates = append(rates, r.Rate)
		}
		if r.Rival.NSPerForward > 0 && r.Tandem.NSPerForward > 0 {
			r.CPU = r.Tandem.NSPerForward / r.Rival.NSPerForward
			cpus = append(cpus, r.CPU)
		}
	}
	c.Measures = medians(tandem)
	if len(rival) > 0 {
		m := medians(rival)
		c.Rival = &m
		c.Ratio = &Ratio{Rate: Median(rates), RateRange: Range(rates), CPU: Median(cpus), CPURange: Range(cpus)}
	}
	return c
}

// medians takes the median of each number over the rounds of one side. What cannot be averaged is the last round's; what
// counts damage is the worst round's.
func medians(rounds []Measures) Measures {
	m := rounds[len(rounds)-1]
	median := func(of func(*Measures) float64) float64 {
		values := make([]float64, len(rounds))
		for i := range rounds {
			values[i] = of(&rounds[i])
		}
		return Median(values)
	}
	m.LosslessPPS = median(func(r *Measures) float64 { return r.LosslessPPS })
	m.OfferedPPS = median(func(r *Measures) float64 { return r.OfferedPPS })
	m.DeliveredPPS = median(func(r *Measures) float64 { return r.DeliveredPPS })
	m.Loss = median(func(r *Measures) float64 { return r.Loss })
	m.NSPerForward = median(func(r *Measures) float64 { return r.NSPerForward })
	m.P50 = median(func(r *Measures) float64 { return r.P50 })
	m.P99 = median(func(r *Measures) float64 { return r.P99 })
	m.P999 = median(func(r *Measures) float64 { return r.P999 })
	m.Max = median(func(r *Measures) float64 { return r.Max })
	m.Untimed.Share = median(func(r *Measures) float64 { return r.Untimed.Share })
	m.Untimed.P99 = median(func(r *Measures) float64 { return r.Untimed.P99 })
	m.Untimed.P999 = median(func(r *Measures) float64 { return r.Untimed.P999 })
	m.RSS = median(func(r *Measures) float64 { return r.RSS })
	m.BatchIn = medianIfTold(rounds, func(r *Measures) *float64 { return r.BatchIn })
	m.BatchOut = medianIfTold(rounds, func(r *Measures) *float64 { return r.BatchOut })
	m.Allocs = medianIfTold(rounds, func(r *Measures) *float64 { return r.Allocs })
	m.CPU.ProcessMS = median(func(r *Measures) float64 { return r.CPU.ProcessMS })
	m.CPU.NAPIMS = median(func(r *Measures) float64 { return r.CPU.NAPIMS })
	m.CPU.Percent = median(func(r *Measures) float64 { return r.CPU.Percent })
	m.CPU.StealMS = median(func(r *Measures) float64 { return r.CPU.StealMS })
	m.CPU.SoftirqMS = median(func(r *Measures) float64 { return r.CPU.SoftirqMS })
	m.Delay = medianDelay(rounds)
	m.Allocations = nil
	for i := range rounds {
		r := &rounds[i]
		if r.Allocations != nil && (m.Allocations == nil || r.Allocations.Forwards > m.Allocations.Forwards) {
			m.Allocations = r.Allocations
		}
		m.CPU.NAPIHome = m.CPU.NAPIHome && r.CPU.NAPIHome
		m.CPU.Elsewhere = max(m.CPU.Elsewhere, r.CPU.Elsewhere)
		m.Load.LateMaxUS = max(m.Load.LateMaxUS, r.Load.LateMaxUS)
		m.Load.Duplicated = max(m.Load.Duplicated, r.Load.Duplicated)
		m.Load.Misordered = max(m.Load.Misordered, r.Load.Misordered)
		m.Load.Corrupt = max(m.Load.Corrupt, r.Load.Corrupt)
		m.Load.Forged = max(m.Load.Forged, r.Load.Forged)
		m.Load.Stray = max(m.Load.Stray, r.Load.Stray)
		if m.Load.Limit == "" {
			m.Load.Limit = r.Load.Limit
		}
	}
	return m
}

// medianIfTold is the median of the rounds that have the number, nil when none has.
func medianIfTold(rounds []Measures, of func(*Measures) *float64) *float64 {
	var values []float64
	for i := range rounds {
		if v := of(&rounds[i]); v != nil {
			values = append(values, *v)
		}
	}
	if len(values) == 0 {
		return nil
	}
	m := Median(values)
	return &m
}

func medianDelay(rounds []Measures) *Delay {
	var delays []Delay
	for i := range rounds {
		if d := rounds[i].Delay; d != nil {
			delays = append(delays, *d)
		}
	}
	if len(delays) == 0 {
		return nil
	}
	median := func(of func(*Delay) float64) float64 {
		values := make([]float64, len(delays))
		for i := range delays {
			values[i] = of(&delays[i])
		}
		return Median(values)
	}
	return &Delay{
		OfferedPPS: median(func(d *Delay) float64 { return d.OfferedPPS }),
		Loss:       median(func(d *Delay) float64 { return d.Loss }),
		P50:        median(func(d *Delay) float64 { return d.P50 }),
		P99:        median(func(d *Delay) float64 { return d.P99 }),
		P999:       median(func(d *Delay) float64 { return d.P999 }),
		Max:        median(func(d *Delay) float64 { return d.Max }),
		Untimed: Untimed{
			Share: median(func(d *Delay) float64 { return d.Untimed.Share }),
			P99:   median(func(d *Delay) float64 { return d.Untimed.P99 }),
			P999:  median(func(d *Delay) float64 { return d.Untimed.P999 }),
		},
	}
}
