// Command tandem is the product: both planes, together or apart, and the tools to drive and to look at them. Each
// subcommand is one thin file; what it does lives in relay, signaling and internal.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime/debug"
	"strings"
	"syscall"

	"github.com/alecthomas/kong"
)

// version is set by the build (-ldflags "-X main.version=..."); a plain go build uses the module's.
var version = ""

// commands are the subcommands, as kong reads them.
type commands struct {
	Run   runCmd   `cmd:"" help:"Run both planes in one process: without -c on loopback, ready for a first call."`
	Relay relayCmd `cmd:"" help:"Run the media plane."`
	SIP   sipCmd   `cmd:"" name:"sip" help:"Run the call plane."`
	Check checkCmd `cmd:"" help:"Say what is wrong with a configuration, or what was understood."`

	Explain explainCmd `cmd:"" help:"Say where a call would go, and why, step by step."`

	Top  topCmd  `cmd:"" help:"Watch the trunks and the calls of a running node."`
	Ctl  ctlCmd  `cmd:"" help:"Ask a running node by one method of its sockets, or list the methods."`
	Demo demoCmd `cmd:"" help:"Place a real call through Tandem on loopback and report what was heard."`

	KeepDevices keepDevicesCmd `cmd:"" hidden:"" help:"For the relay's own use: put devices back when it has ended."`

	Version kong.VersionFlag `help:"Print the version."`
}

// streams are where a command reads and writes.
type streams struct {
	in       io.Reader
	out, err io.Writer
}

func main() {
	if version == "" {
		version = "devel"
		if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" && info.Main.Version != "(devel)" {
			version = info.Main.Version
		}
	}
	var c commands
	parsed := kong.Parse(&c,
		kong.Name("tandem"),
		kong.Description("A media relay and SIP trunking gateway: trunks to trunks, SRTP to RTP."),
		kong.Vars{"version": version},
		kong.UsageOnError(),
	)
	parsed.BindTo(context.Background(), (*context.Context)(nil))
	if err := parsed.Run(streams{os.Stdin, os.Stdout, os.Stderr}); err != nil {
		os.Exit(complain(os.Stderr, err))
	}
}

// untilSignal is for commands that have something to put in order when they are told to stop; the others just end.
func untilSignal(ctx context.Context) (context.Context, context.CancelFunc) {
	return signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
}

// exit is an error whose message, if any, was already printed.
type exit int

func (e exit) Error() string { return fmt.Sprintf("exit %d", int(e)) }

// complain prints a user's mistake as one clear line, several as one each, and returns the exit code.
func complain(w io.Writer, err error) int {
	var code exit
	if errors.As(err, &code) {
		return int(code)
	}
	for line := range strings.SplitSeq(err.Error(), "\n") {
		fmt.Fprintf(w, "tandem: %s\n", line)
	}
	return 1
}
