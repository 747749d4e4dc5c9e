// Package identity holds our certificates, their keys and the authorities that we trust, by file, and takes a changed file
// up while listeners and connections run on.
//
// The failures that this package prevents: a certificate that was renewed on disk and expired in memory; one half of a new
// pair beside the other half of the old (TestHalfOfAPairIsNeverUsed); and a broken file that takes a working certificate
// down (TestBrokenFileLeavesTheOldCertificate). A file is loaded once however many listeners and trunks use it.
//
// Which name a peer's certificate must carry is not decided here: on connections that we open signaling/guard checks it, on
// those that peers open signaling/trunk does.
package identity

import (
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"tandem/internal/config"
)

// lookEvery is how often the files are looked at. They are small and few, and an operator who renewed one should see it
// taken up before he doubts.
const lookEvery = 5 * time.Second

// Options of a Store. The zero value is ready.
type Options struct {
	Every time.Duration    // between two looks at the files; 0: 5 s; negative: only Reload looks
	Now   func() time.Time // nil: time.Now
	Log   *slog.Logger     // nil: slog.Default
}

// Store is the identities of one configuration. It is safe for concurrent use.
type Store struct {
	now  func() time.Time
	log  *slog.Logger
	stop chan struct{}
	work sync.WaitGroup
	once sync.Once

	mu    sync.Mutex           // held while files are read: they are taken up one after the other
	files files                // under mu
	told  map[string]notice    // under mu
	uses  atomic.Pointer[uses] // who asks for an identity waits for no disk
}

// files are what was loaded.
type files struct {
	pairs   map[[2]string]*pair // by certificate and key file
	bundles map[string]*bundle  // by file
}

// uses are who needs what. They are not changed after they were made.
type uses struct {
	all     []watched
	servers map[string]*tls.Config // by listener
	clients map[string]*tls.Config // by listener
	trunks  map[string]*tls.Config // by trunk, of those that have their own
	made    map[made]*tls.Config
	names   []naming
}

// made names a tls.Config that was made, so that the same files and rules give the same one again: guard shares connections
// by its address.
type made struct {
	of     config.TLS
	server bool
}

// Open loads every file that the configuration's listeners and trunks name, says in the log what is doubtful about them,
// and watches them until Close. The error names the key and the file.
func Open(cfg *config.Config, o Options) (*Store, error) {
	s := &Store{now: o.Now, log: o.Log, stop: make(chan struct{}), told: make(map[string]notice)}
	if s.now == nil {
		s.now = time.Now
	}
	if s.log == nil {
		s.log = slog.Default()
	}
	if err := s.Update(cfg); err != nil {
		return nil, err
	}
	if o.Every == 0 {
		o.Every = lookEvery
	}
	if o.Every > 0 {
		s.work.Go(func() { s.watch(o.Every) })
	}
	return s, nil
}

// Update makes the identities of a changed configuration. What the configuration leaves as it was keeps its *tls.Config. On
// an error nothing has changed.
func (s *Store) Update(cfg *config.Config) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	before := s.uses.Load()
	if before == nil {
		before = new(uses)
	}
	b := builder{
		oldFiles: s.files, oldUses: before, files: files{make(map[[2]string]*pair), make(map[string]*bundle)},
		uses: uses{servers: make(map[string]*tls.Config), clients: make(map[string]*tls.Config),
			trunks: make(map[string]*tls.Config), made: make(map[made]*tls.Config)},
	}
	for _, name := range slices.Sorted(maps.Keys(cfg.SIP.Listeners)) {
		if err := b.listener(name, cfg); err != nil {
			return fmt.Errorf("sip.listeners.%s.tls: %w", name, err)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(cfg.Trunks)) {
		if err := b.trunk(name, cfg); err != nil {
			return fmt.Errorf("trunks.%s.tls: %w", name, err)
		}
	}
	b.uses.all = b.files.all()
	s.files = b.files
	s.uses.Store(&b.uses)
	s.inspect()
	s.expiring()
	return nil
}

// builder makes the parts of an Update before any of them counts.
type builder struct {
	oldFiles files
	oldUses  *uses
	files    files
	uses     uses
}

func (b *builder) listener(name string, cfg *config.Config) (err error) {
	l := cfg.SIP.Listeners[name]
	if l.TLS == nil {
		return nil
	}
	if b.uses.servers[name], err = b.make(*l.TLS, true); err != nil {
		return err
	}
	if b.uses.clients[name], err = b.make(*l.TLS, false); err != nil {
		return err
	}
	b.uses.names = append(b.uses.names, naming{b.files.pairs[[2]string{l.TLS.Certificate, l.TLS.Key}], name, advertised(cfg, l)})
	return nil
}

func (b *builder) trunk(name string, cfg *config.Config) (err error) {
	t := cfg.Trunks[name]
	listener := cfg.SIP.Listeners[t.Listener]
	if t.TLS == nil {
		return nil
	}
	own := *t.TLS
	if l := listener.TLS; l != nil { // what a trunk does not say is as on its listener
		if own.Certificate == "" && own.Key == "" {
			own.Certificate, own.Key = l.Certificate, l.Key
		}
		if own.CA == "" {
			own.CA = l.CA
		}
		if own.MinVersion == "" {
			own.MinVersion = l.MinVersion
		}
	}
	own.Client = "" // of no meaning where we are the client; it would only tell equal identities apart
	b.uses.trunks[name], err = b.make(own, false)
	return err
}

// make gives the tls.Config for files and rules: that of the configuration before, if it had the same.
func (b *builder) make(c config.TLS, server bool) (*tls.Config, error) {
	if !server {
		c.Client = ""
	}
	p, err := b.pair(c.Certificate, c.Key)
	if err != nil {
		return nil, err
	}
	trusted, err := b.bundle(c.CA)
	if err != nil {
		return nil, err
	}
	key := made{c, server}
	for _, known := range []map[made]*tls.Config{b.uses.made, b.oldUses.made} {
		if t := known[key]; t != nil {
			b.uses.made[key] = t
			return t, nil
		}
	}
	t := clientConfig(c, p, trusted)
	if server {
		t = serverConfig(c, p, trusted)
	}
	b.uses.made[key] = t
	return t, nil
}

func (b *builder) pair(certificate, key string) (*pair, error) {
	at := [2]string{certificate, key}
	p := b.files.pairs[at]
	if p == nil {
		p = b.oldFiles.pairs[at]
	}
	if p == nil {
		p = &pair{certificate: certificate, key: key}
		if err := p.open(); err != nil {
			return nil, err
		}
	}
	b.files.pairs[at] = p
	return p, nil
}

// bundle gives the authorities of a file; without a file they are the system's, which are nobody's to watch.
func (b *builder) bundle(file string) (*bundle, error) {
	if file == "" {
		return &bundle{}, nil
	}
	t := b.files.bundles[file]
	if t == nil {
		t = b.oldFiles.bundles[file]
	}
	if t == nil {
		t = &bundle{file: file}
		if err := t.open(); err != nil {
			return nil, err
		}
	}
	b.files.bundles[file] = t
	return t, nil
}

// Server is the identity of a listener towards peers that connect to it; nil for a listener without TLS. It keeps for good,
// and what it shows and trusts follows the files.
func (s *Store) Server(listener string) *tls.Config {
	return s.uses.Load().servers[listener]
}

// Client is the identity of connections that are opened from a listener; nil for a listener without TLS. It verifies the
// peer's chain and not its name: guard does that.
func (s *Store) Client(listener string) *tls.Config {
	return s.uses.Load().clients[listener]
}

// Trunk is the identity of connections that are opened for a trunk, where it has one of its own; nil where its listener's
// holds. It belongs into guard.Egress.TLS as it is: two trunks share a connection only if it is the same pointer.
func (s *Store) Trunk(name string) *tls.Config {
	return s.uses.Load().trunks[name]
}

// Close ends the watch. What Server, Client and Trunk gave goes on with the files as they were read last.
func (s *Store) Close() error {
	s.once.Do(func() { close(s.stop) })
	s.work.Wait()
	return nil
}

// watch looks at the files until Close.
func (s *Store) watch(every time.Duration) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			s.mu.Lock()
			s.look(false)
			s.mu.Unlock()
		case <-s.stop:
			return
		}
	}
}

// Reload looks at the files now. The error tells of each that could not be taken up; the old ones stay in use.
func (s *Store) Reload() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.look(true)
}

// look takes up what has changed and warns of what expires. Caller holds mu. A fault that is found on a tick has to be
// there on the next one as well before it is told: certificate and key are written one after the other, and a look may
// fall between.
func (s *Store) look(now bool) error {
	var errs []error
	for _, f := range s.uses.Load().all {
		changed, err := f.refresh(s.now())
		switch {
		case err != nil:
			if f.doubt(err, now) {
				s.log.Error("tls: a changed file cannot be used; the old one stays", "error", err)
			}
			errs = append(errs, err)
		case changed:
			delete(s.told, f.name())
			e := f.expiry()
			s.log.Info("tls: a changed file is in use", "file", e.File, "subject", e.Subject, "expires", e.At)
		}
	}
	s.expiring()
	return errors.Join(errs...)
}
