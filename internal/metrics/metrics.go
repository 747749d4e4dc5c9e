// Package metrics is the one place that knows Prometheus.
//
// The planes count for themselves: the relay in plain integers of its workers, which are summed up only when somebody
// scrapes, the signaling plane through the small interfaces that Signaling implements. docs/metrics.md lists every name.
package metrics

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"runtime"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Off disables an endpoint.
const Off = "off"

// Deadlines of the endpoint, against clients that never finish.
const (
	readTimeout  = 10 * time.Second
	writeTimeout = 30 * time.Second
)

// registry returns a registry with what every process of ours shows.
func registry(version string) *prometheus.Registry {
	r := prometheus.NewRegistry()
	build := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "tandem_build_info", Help: "Always 1; the labels tell the version.",
		ConstLabels: prometheus.Labels{"version": version, "go": runtime.Version()},
	})
	build.Set(1)
	r.MustRegister(build, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return r
}

// Endpoint serves /metrics on one address until it is closed.
type Endpoint struct {
	listener net.Listener
	server   *http.Server
}

// Serve starts an endpoint. Address "off" gives one that does nothing.
func Serve(address string, from prometheus.Gatherer) (*Endpoint, error) {
	if address == Off {
		return &Endpoint{}, nil
	}
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return nil, fmt.Errorf("metrics: listen on %s: %w; choose another address, or off, with metrics.relay, metrics.sip or --metrics", address, err)
	}
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(from, promhttp.HandlerOpts{}))
	e := &Endpoint{listener: listener, server: &http.Server{Handler: mux, ReadTimeout: readTimeout, WriteTimeout: writeTimeout}}
	go e.server.Serve(listener) //nolint:errcheck // ends with ErrServerClosed when Close is called
	return e, nil
}

// Address is where the endpoint listens; empty if it is off.
func (e *Endpoint) Address() string {
	if e.listener == nil {
		return ""
	}
	return e.listener.Addr().String()
}

// Close stops the endpoint.
func (e *Endpoint) Close() error {
	if e.server == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	if err := e.server.Shutdown(ctx); !errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	return e.server.Close()
}
