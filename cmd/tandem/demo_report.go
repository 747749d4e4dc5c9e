package main

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"tandem/internal/control"
	"tandem/internal/phone"
)

// demoReport is what a demo came to. Sums are over all calls.
type demoReport struct {
	OK           bool              `json:"ok"`
	Calls        int               `json:"calls"`          // answered, talked and hung up
	Failed       int               `json:"failed"`         // not
	SetupMS      float64           `json:"setup_ms"`       // from INVITE to the 200 at the phone; median
	FirstAudioMS float64           `json:"first_audio_ms"` // from the answer to the first packet, the later direction; median
	Directions   []demoDirection   `json:"directions"`
	Relay        demoRelay         `json:"relay"`
	Drops        map[string]uint64 `json:"drops"` // by verdict; received == forwarded + their sum
	Problems     []string          `json:"problems,omitempty"`

	ladder string
}

// demoDirection is one way of the audio.
type demoDirection struct {
	Name         string  `json:"name"`
	Sent         uint64  `json:"sent"`     // packets
	Received     uint64  `json:"received"` // packets with exactly the payload that was said at that time
	Lost         uint64  `json:"lost"`     // sent - received
	Corrupt      uint64  `json:"corrupt"`
	Duplicates   uint64  `json:"duplicates"`
	JitterMS     float64 `json:"jitter_ms"` // RFC 3550 at the far phone; mean over the calls
	MOS          float64 `json:"mos"`       // ITU-T G.107, from loss and jitter
	Suite        string  `json:"suite"`     // of the UC side; the PSTN side is plain RTP
	FirstAudioMS float64 `json:"first_audio_ms"`

	path string
}

// demoRelay is what the relay counted, RTCP included.
type demoRelay struct {
	Received  uint64 `json:"received"`
	Forwarded uint64 `json:"forwarded"`
}

// newDemoReport adds up what both ends and the relay say, and judges it.
func newDemoReport(s *stage, calls []*demoCall, stats control.Stats) *demoReport {
	r := &demoReport{
		Directions: []demoDirection{
			{Name: "uc-to-pstn", Suite: demoSuite, path: "SRTP " + demoSuite + " -> RTP"},
			{Name: "pstn-to-uc", Suite: demoSuite, path: "RTP -> SRTP " + demoSuite},
		},
		Relay: demoRelay{stats.Received, stats.Forwarded}, Drops: map[string]uint64{},
	}
	for verdict, n := range stats.Drops {
		if n > 0 {
			r.Drops[verdict] = n
		}
	}
	var setups, firsts []float64
	var late [2][]float64
	var why error
	for _, c := range calls {
		if c.err != nil {
			why, r.Failed = c.err, r.Failed+1
		} else {
			r.Calls++
		}
		if c.near == nil || c.far == nil {
			continue
		}
		near, far := c.near.Report(), c.far.Report()
		setups = append(setups, milliseconds(near.SetupTime))
		firsts = append(firsts, milliseconds(max(near.FirstAudio, far.FirstAudio)))
		for i, way := range [2][2]phone.Report{{near, far}, {far, near}} {
			r.Directions[i].add(way[0], way[1])
			late[i] = append(late[i], milliseconds(way[1].FirstAudio))
		}
	}
	r.SetupMS, r.FirstAudioMS = median(setups), median(firsts)
	for i := range r.Directions {
		r.Directions[i].finish(len(setups), median(late[i]))
	}
	r.judge(stats, why)
	if c := calls[0]; c.near != nil && c.far != nil {
		r.ladder = s.ladder(c)
	}
	return r
}

// add counts one call's packets from who spoke to who heard.
func (d *demoDirection) add(spoke, heard phone.Report) {
	d.Sent += spoke.Sent
	d.Received += heard.Received
	d.Corrupt += heard.Corrupt
	d.Duplicates += heard.Duplicates
	d.JitterMS += heard.JitterMS
}

// finish turns sums into what is shown.
func (d *demoDirection) finish(calls int, firstAudio float64) {
	if d.Sent > d.Received {
		d.Lost = d.Sent - d.Received
	}
	d.JitterMS = rounded(d.JitterMS/float64(max(calls, 1)), 3)
	d.MOS = rounded(phone.MOS(d.Received, d.Lost, d.JitterMS), 2)
	d.FirstAudioMS = firstAudio
}

// judge finds everything that is not as it should be.
func (r *demoReport) judge(stats control.Stats, why error) {
	problem := func(format string, a ...any) { r.Problems = append(r.Problems, fmt.Sprintf(format, a...)) }
	if r.Failed > 0 {
		problem("%d of %s failed, for example: %v", r.Failed, count(r.Calls+r.Failed, "call"), why)
	}
	for _, d := range r.Directions {
		if d.Sent == 0 {
			problem("%s: nothing was sent", d.Name)
		}
		if d.Received != d.Sent || d.Corrupt+d.Duplicates > 0 {
			problem("%s: of %d packets sent %d arrived unharmed (lost %d, corrupt %d, twice %d)",
				d.Name, d.Sent, d.Received, d.Lost, d.Corrupt, d.Duplicates)
		}
	}
	var dropped uint64
	for _, n := range r.Drops {
		dropped += n
	}
	if stats.Received != stats.Forwarded+dropped {
		problem("the relay's books do not balance: received %d, forwarded %d, dropped %d", stats.Received, stats.Forwarded, dropped)
	}
	if stats.Overflows > 0 {
		problem("the kernel dropped %d packets before the relay saw them: this machine is too slow for so many calls", stats.Overflows)
	}
	if stats.Sessions > 0 {
		problem("%s still open in the relay after the last call", count(stats.Sessions, "session"))
	}
	r.OK = len(r.Problems) == 0
}

func (r *demoReport) printJSON(w io.Writer) error {
	b, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(w, "%s\n", b)
	return err
}

// print writes the report for a person.
func (r *demoReport) print(w io.Writer) error {
	if r.ladder != "" {
		fmt.Fprintf(w, "\n%s", r.ladder)
	}
	fmt.Fprintf(w, "\n%s, set up in %.1f ms, first audio after %.1f ms (median)\n\n", count(r.Calls, "call"), r.SetupMS, r.FirstAudioMS)
	t := tabwriter.NewWriter(w, 0, 0, 3, ' ', tabwriter.AlignRight)
	fmt.Fprintf(t, "direction\tsent\treceived\tlost\tjitter\tMOS\tfirst audio\t   media\n")
	for _, d := range r.Directions {
		fmt.Fprintf(t, "%s\t%d\t%d\t%d\t%.2f ms\t%.2f\t%.1f ms\t   %s\n", d.Name, d.Sent, d.Received, d.Lost, d.JitterMS, d.MOS, d.FirstAudioMS, d.path)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	drops := "no drops"
	if len(r.Drops) > 0 {
		var each []string
		for _, verdict := range slices.Sorted(maps.Keys(r.Drops)) {
			each = append(each, fmt.Sprintf("%s %d", verdict, r.Drops[verdict]))
		}
		drops = "drops: " + strings.Join(each, ", ")
	}
	closing := "Audio flowed unharmed both ways."
	if !r.OK {
		closing = "Not all went well: " + strings.Join(r.Problems, "; ") + "."
	}
	_, err := fmt.Fprintf(w, "\nrelay: %d packets received, %d forwarded, RTCP included; %s\n\n%s\n",
		r.Relay.Received, r.Relay.Forwarded, drops, closing)
	return err
}

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// median of nothing is 0.
func median(values []float64) float64 {
	if len(values) == 0 {
		return 0
	}
	slices.Sort(values)
	return rounded(values[len(values)/2], 3)
}
