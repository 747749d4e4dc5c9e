package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"time"

	"tandem/internal/config"
	"tandem/internal/control"
	"tandem/signaling/console"
	"tandem/signaling/route"
	"tandem/signaling/trunk"
)

// source is where a configuration comes from, and how to read it again.
type source struct {
	path  string // empty: from no file
	node  string
	flags func(*config.Config) // of the command line, over what the file says; nil: there are none
	sum   string               // SHA-256 of what load read last
}

// maxConfig bounds what is read of a file, in bytes. internal/config refuses less than that with a better message.
const maxConfig = 1 << 20

// loadOr reads the file, or without one makes the configuration given.
func (s *source) loadOr(otherwise func() *config.Config) (*config.Config, error) {
	if s.path != "" {
		return s.load()
	}
	cfg := otherwise()
	s.flags(cfg)
	return cfg, nil
}

// load reads the file.
func (s *source) load() (*config.Config, error) {
	f, err := os.Open(s.path)
	if err != nil {
		return nil, fmt.Errorf("config: %w; give the path of the file with -c", err)
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxConfig))
	if err != nil {
		return nil, fmt.Errorf("config: %w", err)
	}
	cfg, err := config.ParseFor(s.path, text, s.node)
	if err != nil {
		return nil, err
	}
	if s.flags != nil {
		s.flags(cfg)
	}
	sum := sha256.Sum256(text)
	s.sum = hex.EncodeToString(sum[:])
	return cfg, nil
}

// reload reads the configuration again and lets new calls see it; with check it only tells what that would change. An error
// leaves everything as it was. What only a restart can change stays as it was, and is told.
func (p *sipPlane) reload(ctx context.Context, check bool) (console.Reloaded, error) {
	p.reloading.Lock()
	defer p.reloading.Unlock()
	r, err := p.reread(ctx, check)
	if !check {
		p.tell(r, err)
	}
	if err != nil {
		return r, control.Errorf(console.CodeConfig, "%v", err)
	}
	return r, nil
}

// tell counts and logs what came of a reload, one line a change.
func (p *sipPlane) tell(r console.Reloaded, err error) {
	p.meter.Reload(err == nil)
	if err != nil {
		p.log.Error("configuration not reloaded; everything is as it was", "file", p.from.path, "error", err)
		return
	}
	for _, change := range r.Changes {
		p.log.Info("configuration changed", "change", change)
	}
	for _, change := range r.Restart {
		p.log.Warn("configuration changed, not in force yet", "change", change)
	}
	for _, note := range r.Notes {
		p.log.Warn("configuration", "note", note)
	}
	p.log.Info("configuration reloaded", "file", p.from.path, "sha256", r.SHA256, "changes", len(r.Changes), "need_restart", len(r.Restart))
}

// reread compares the file with what is in force and, unless check is set, takes it up.
func (p *sipPlane) reread(ctx context.Context, check bool) (console.Reloaded, error) {
	if p.from.path == "" {
		return console.Reloaded{}, errors.New("this node runs without a configuration file: there is nothing to reload")
	}
	from := p.from
	read, err := from.load()
	if err != nil {
		return console.Reloaded{}, err
	}
	before := p.now.Load()
	cfg := p.effective(before.cfg, read)
	r := console.Reloaded{SHA256: from.sum, Changes: []string{}, Restart: []string{}, Notes: []string{}}
	for _, c := range config.Diff(before.cfg, read) {
		if c.NeedsRestart {
			r.Restart = append(r.Restart, c.String())
		} else {
			r.Changes = append(r.Changes, c.String())
		}
	}
	for _, w := range read.Warnings() {
		r.Notes = append(r.Notes, w.Error())
	}
	if err := p.possible(before.cfg, read); err != nil {
		return r, err
	}
	if check {
		return r, nil
	}
	file := console.File{Path: from.path, SHA256: from.sum, Reloads: before.file.Reloads + 1, Restart: r.Restart}
	notes, err := p.takeUp(ctx, before, cfg, file)
	if err != nil {
		return r, err
	}
	r.Applied, r.Notes = true, append(r.Notes, notes...)
	p.from = from
	return r, nil
}

// effective is a configuration as this process can take it up: what only a start reads is as it is in force.
func (p *sipPlane) effective(old, read *config.Config) *config.Config {
	cfg := *read
	cfg.Node, cfg.Log, cfg.Control, cfg.Metrics, cfg.Media, cfg.SIP = old.Node, old.Log, old.Control, old.Metrics, old.Media, old.SIP
	return &cfg
}

// possible refuses trunks for which there is no listener yet: routes may rely on them, so the rest is not taken up either.
func (p *sipPlane) possible(old, read *config.Config) error {
	var errs []error
	for _, name := range slices.Sorted(maps.Keys(read.Trunks)) {
		t := read.Trunks[name]
		was, open := old.SIP.Listeners[t.Listener]
		switch is := read.SIP.Listeners[t.Listener]; {
		case open && is.Transport != was.Transport: // srtp, pin and tls_names follow the transport: they must not change before it does
			errs = append(errs, fmt.Errorf("sip.listeners.%s.transport: %s instead of %s is for a restart, and trunk %s depends on it; until then leave it as it was", t.Listener, is.Transport, was.Transport, name))
		case !open:
			errs = append(errs, fmt.Errorf("trunks.%s.listener: %s is a new listener, which only a restart opens; until then leave the trunk out", name, t.Listener))
		}
		if _, known := old.Media.Networks[t.Network]; !known && !p.relayHas(t.Network) {
			errs = append(errs, fmt.Errorf("trunks.%s.network: the relay that runs does not have %s; restart it, or leave the trunk out", name, t.Network))
		}
	}
	return errors.Join(errs...)
}

// relayHas tells whether the relay that is connected has a network.
func (p *sipPlane) relayHas(network string) bool {
	hello := p.hello.Load()
	return hello != nil && slices.ContainsFunc(hello.Networks, func(n control.Network) bool { return n.Name == network })
}

// takeUp lets new calls see a configuration. What can fail comes first; notes tell of what is not quite as it should be.
func (p *sipPlane) takeUp(ctx context.Context, before *inForce, cfg *config.Config, file console.File) (notes []string, err error) {
	trunks, err := trunk.New(cfg, nil, nil)
	if err != nil {
		return nil, err
	}
	if err := p.identities.Update(cfg); err != nil {
		return nil, errors.Join(allUnread(cfg, err)...)
	}
	if err := p.reopenRecords(ctx, cfg); err != nil {
		return nil, errors.Join(err, p.identities.Update(before.cfg))
	}
	if err := p.identities.Reload(); err != nil {
		notes = append(notes, err.Error())
	}
	trunks.Adopt(before.trunks)
	resolving, cancel := context.WithTimeout(ctx, resolveTimeout)
	defer cancel()
	if err := trunks.Refresh(resolving); err != nil {
		notes = append(notes, err.Error())
	}
	after := &inForce{cfg: cfg, trunks: trunks, routes: route.New(cfg), file: file}
	p.calls.Reload(cfg, after.trunks, after.routes)
	p.registrar.Update(after.trunks)
	after.file.Loaded = time.Now()
	p.now.Store(after)
	p.ledger.Keep(func(name string) bool { _, ok := trunks.ByName(name); return ok })
	return notes, nil
}
