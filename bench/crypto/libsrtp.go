package crypto

import (
	"bytes"
	_ "embed"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"tandem/relay/srtp"
)

//go:embed libsrtp/measure.c
var helper []byte

// measureLibSRTP compiles the helper, runs it and reads its figures. Without a compiler or the library it is left out by name; a
// prefix that was asked for and has no library is an error.
func measureLibSRTP(o *Options) (results []Result, leftOut []string, err error) {
	compiler, err := exec.LookPath("gcc")
	if err != nil {
		return nil, []string{"libsrtp: there is no gcc to compile its measurement with"}, nil
	}
	dir, err := os.MkdirTemp("", "tandem-bench-")
	if err != nil {
		return nil, nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	source, program := filepath.Join(dir, "libsrtp.c"), filepath.Join(dir, "libsrtp")
	if err := os.WriteFile(source, helper, 0o600); err != nil {
		return nil, nil, err
	}
	arguments := []string{"-O2", "-o", program, source}
	if o.LibSRTP != "" {
		header := filepath.Join(o.LibSRTP, "include", "srtp2", "srtp.h") // without it the system's would be measured
		if _, err := os.Stat(header); err != nil {
			return nil, nil, fmt.Errorf("no libsrtp is installed in %s: %w", o.LibSRTP, err)
		}
		lib := filepath.Join(o.LibSRTP, "lib")
		arguments = append(arguments, "-I"+filepath.Join(o.LibSRTP, "include"), "-L"+lib, "-Wl,-rpath,"+lib)
	}
	if out, err := exec.Command(compiler, append(arguments, "-lsrtp2")...).CombinedOutput(); err != nil {
		if bytes.Contains(out, []byte("srtp2/srtp.h: No such file")) {
			return nil, []string{"libsrtp: it is not installed (Debian: apt-get install libsrtp2-dev)"}, nil
		}
		return nil, nil, fmt.Errorf("libsrtp: its measurement does not compile: %w: %s", err, out)
	}
	o.Log("libsrtp")
	command := exec.Command(program, strconv.Itoa(o.Runs), strconv.FormatInt(o.Run.Microseconds(), 10))
	out, err := command.Output()
	if err != nil {
		return nil, nil, fmt.Errorf("libsrtp: its measurement failed: %w", err)
	}
	return readLibSRTP(o, out)
}

// readLibSRTP reads what the helper prints.
func readLibSRTP(o *Options, out []byte) (results []Result, leftOut []string, err error) {
	version := "libsrtp"
	for line := range strings.Lines(string(out)) {
		fields := strings.Fields(line)
		switch {
		case len(fields) >= 2 && fields[0] == "VERSION":
			version = fields[len(fields)-1]
		case len(fields) == 2 && fields[0] == "MISSING":
			if name := "libsrtp " + version + " was built without " + fields[1]; !slices.Contains(leftOut, name) {
				leftOut = append(leftOut, name)
			}
		case len(fields) == 3:
			ns, err := strconv.ParseFloat(fields[2], 64)
			if err != nil {
				return nil, nil, fmt.Errorf("libsrtp: %q is no figure", line)
			}
			if slices.ContainsFunc(o.Suites, func(s srtp.Suite) bool { return s.String() == fields[0] }) {
				results = append(results, Result{"libsrtp", fields[0], fields[1], version, 1, ns, -1})
			}
		default:
			return nil, nil, fmt.Errorf("libsrtp: its measurement printed %q", line)
		}
	}
	return results, leftOut, nil
}
