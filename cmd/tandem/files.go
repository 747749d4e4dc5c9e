package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"tandem/internal/config"
	"tandem/internal/records"
	"tandem/signaling/digest"
	"tandem/signaling/identity"
)

// absentIdentities are the certificates, keys and authorities that cannot be used, and what is doubtful about those that can.
func absentIdentities(cfg *config.Config) []error {
	doubts, err := identity.Check(cfg, nil)
	if err != nil {
		return allUnread(cfg, err)
	}
	var all []error
	for _, doubt := range doubts {
		all = append(all, errors.New(doubt))
	}
	return all
}

// allUnread is what is wrong with the identities: every file that cannot be read, where identity names the first such one; what
// it said otherwise. Files that were read before may be gone meanwhile, and are not what is wrong then.
func allUnread(cfg *config.Config, first error) []error {
	if !errors.Is(first, fs.ErrNotExist) && !errors.Is(first, fs.ErrPermission) {
		return []error{first}
	}
	var all []error
	looked := make(map[string]bool) // a trunk has the files of its listener unless it says otherwise
	look := func(section string, t *config.TLS) {
		if t == nil {
			return
		}
		for _, f := range []struct{ key, path string }{{"certificate", t.Certificate}, {"key", t.Key}, {"ca", t.CA}} {
			if f.path == "" || looked[f.path] {
				continue
			}
			looked[f.path] = true
			if err := openable(f.path); err != nil {
				all = append(all, fmt.Errorf("%s: %w; put a PEM file there that the user who runs tandem may read, or correct the path",
					cfg.At(section+"."+f.key), err))
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(cfg.SIP.Listeners)) {
		look("sip.listeners."+name+".tls", cfg.SIP.Listeners[name].TLS)
	}
	for _, name := range slices.Sorted(maps.Keys(cfg.Trunks)) {
		look("trunks."+name+".tls", cfg.Trunks[name].TLS)
	}
	if len(all) == 0 {
		return []error{first}
	}
	return all
}

// openable opens a file and closes it again. What is no regular file is not opened: that might never return.
func openable(path string) error {
	info, err := os.Stat(path)
	if err != nil || !info.Mode().IsRegular() {
		return err
	}
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	return f.Close()
}

// absentPasswords are the files of passwords that cannot be used. A start goes on without them: only their trunks are refused.
func absentPasswords(cfg *config.Config) []error {
	var all []error
	for _, name := range slices.Sorted(maps.Keys(cfg.Trunks)) {
		a := cfg.Trunks[name].Auth
		if a == nil {
			continue
		}
		if _, err := digest.Who(*a); err != nil {
			all = append(all, fmt.Errorf("%s: %w; write the password into the first line of that file, which the user who runs tandem may read",
				cfg.At("trunks."+name+".auth.password_file"), inner(err)))
		}
	}
	return all
}

// inner is an error without the key that its maker put before it: the line of the file comes first.
func inner(err error) error {
	if e := errors.Unwrap(err); e != nil {
		return e
	}
	return err
}

// directoryMode is of a directory that we make for records: numbers of callers are for its owner and its group.
const directoryMode = 0o750

// recordsAdvice is what to do about a directory of records that is not to be had.
const recordsAdvice = "make the directory for the user who runs tandem (install -d -o USER DIRECTORY), or choose another path"

// absentRecords tells that the directory of records is missing, and the one above it too, so that a start would not make it.
func absentRecords(cfg *config.Config) []error {
	if cfg.Records.File == "" {
		return nil
	}
	parent := filepath.Dir(filepath.Dir(cfg.Records.File))
	if _, err := os.Stat(parent); !errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return []error{fmt.Errorf("%s: %s: neither its directory nor %s is there; %s", cfg.At("records.file"), cfg.Records.File, parent, recordsAdvice)}
}

// openRecords opens the file of records. Its directory is made if the one above exists: that says the path is meant, where a
// whole path that is missing rather tells of a typing error or of a disk that is not mounted.
func openRecords(cfg *config.Config, log *slog.Logger) (*records.Writer, error) {
	makeRecordsDirectory(cfg)
	w, err := records.Open(recordOptions(cfg, log))
	return w, recordsFault(cfg, err)
}

// reopenRecords goes on with the file of call records, wherever logrotate left it.
func (p *sipPlane) reopenRecords(ctx context.Context, cfg *config.Config) error {
	ctx, cancel := context.WithTimeout(ctx, recordsTimeout)
	defer cancel()
	makeRecordsDirectory(cfg)
	return recordsFault(cfg, p.records.Reopen(ctx, recordOptions(cfg, p.log)))
}

// makeRecordsDirectory leaves it to the opening of the file to tell what is wrong.
func makeRecordsDirectory(cfg *config.Config) {
	if cfg.Records.File != "" {
		_ = os.Mkdir(filepath.Dir(cfg.Records.File), directoryMode)
	}
}

// recordsFault tells of a file of records that could not be opened: its line, and what to do.
func recordsFault(cfg *config.Config, err error) error {
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("%s: %w; %s", cfg.At("records.file"), inner(err), recordsAdvice)
	}
	return err
}

func recordOptions(cfg *config.Config, log *slog.Logger) records.Options {
	return records.Options{File: cfg.Records.File, Size: int64(cfg.Records.Size), Keep: cfg.Records.Keep, Log: log}
}
