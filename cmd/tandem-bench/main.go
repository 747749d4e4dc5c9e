// Command tandem-bench measures relay and signaling on this machine: network namespaces, load, gateways and rivals are made and
// removed by itself. Each subcommand is one thin file; what it does lives in bench.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"github.com/alecthomas/kong"

	"tandem/bench/report"
	"tandem/bench/rig"
	"tandem/bench/subject"
)

// version is set by the build (-ldflags "-X main.version=...").
var version = "devel"

// commands are the subcommands, as kong reads them.
type commands struct {
	Relay    relayCmd    `cmd:"" help:"Measure packets: rate, loss, CPU, delay, allocations; with a rival beside it."`
	Sessions sessionsCmd `cmd:"" help:"Measure control: sessions opened and closed per second, memory of an idle one."`
	Crypto   cryptoCmd   `cmd:"" help:"Measure SRTP by itself: ns per packet by suite, processor tier and batch, beside pion and libsrtp."`
	SIP      sipCmd      `cmd:"" name:"sip" help:"Measure calls: highest rate, CPU per call, set-up time, memory; with Kamailio and rtpengine beside it."`
	Soak     soakCmd     `cmd:"" help:"Keep hundreds of calls with audio going for long, and look for what is lost or left."`
	All      allCmd      `cmd:"" help:"Everything that BENCHMARKS.md shows, and rewrite its tables."`
}

// bench is what every subcommand needs.
type bench struct {
	Tandem   string `type:"path" help:"The tandem binary; default: the one beside this program."`
	RelayCPU int    `help:"CPU of the relay under test; default: the last one." default:"-1"`
	LoadCPU  int    `help:"CPU of generator and sink; default: the first one." default:"-1"`
}

// streams are where a command writes.
type streams struct{ out, err io.Writer }

const interrupted = 130 // exit code after ^C, as shells have it

func main() {
	var c commands
	parsed := kong.Parse(&c, kong.Name("tandem-bench"),
		kong.Description("Measures relay and signaling in network namespaces of its own. Needs root and two CPUs."), kong.UsageOnError())
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	parsed.BindTo(ctx, (*context.Context)(nil))
	err := parsed.Run(streams{os.Stdout, os.Stderr})
	cut := ctx.Err() != nil
	stop()
	switch {
	case err != nil && cut:
		fmt.Fprintln(os.Stderr, "tandem-bench: interrupted; everything is removed")
		os.Exit(interrupted)
	case err != nil:
		fmt.Fprintf(os.Stderr, "tandem-bench: %v\n", err)
		os.Exit(1)
	}
}

// place builds the rig, and hands it to f.
func (b *bench) place(ctx context.Context, o rig.Options, f func(*rig.Place) error) (err error) {
	if b.RelayCPU >= 0 || b.LoadCPU >= 0 {
		if b.RelayCPU < 0 || b.LoadCPU < 0 {
			return errors.New("--relay-cpu and --load-cpu belong together: name both")
		}
		o.RelayCPU, o.LoadCPU = b.RelayCPU, b.LoadCPU
	}
	if _, err := subject.RaiseFileLimit(); err != nil {
		return err
	}
	place, err := rig.Build(ctx, o)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, place.Close()) }()
	return f(place)
}

// conditions describes this run.
func (b *bench) conditions(place *rig.Place, t *subject.Tandem) report.Conditions {
	c := report.Here(append([]string{filepath.Base(os.Args[0])}, os.Args[1:]...))
	c.RelayCPU, c.LoadCPU, c.Tandem = place.RelayCPU(), place.LoadCPU(), t.Version()
	return c
}

// log returns a progress line's printer.
func (s streams) log(format string, arguments ...any) { fmt.Fprintf(s.err, format+"\n", arguments...) }
