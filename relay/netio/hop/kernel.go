package hop

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

const (
	// eventBuffer is the receive buffer of an event socket in bytes: a few thousand events, what a routing daemon sends
	// at its start. What is more is lost, noticed, and asked again.
	eventBuffer = 1 << 20

	// eventBatches is how many datagrams of events wait for the resolver. When they are there the socket's buffer fills.
	eventBatches = 16

	// answerTime is how long the kernel may take to answer. It answers while it is asked; this only keeps a fault of the
	// kernel from stopping the resolver for ever.
	answerTime = 5 * time.Second

	// dumpAttempts is how often a list is asked for that changes while it is read.
	dumpAttempts = 3
)

// kernel is the netlink sockets of one table. All are opened together, in the namespace and with the capabilities of
// the thread that opens the table.
type kernel struct {
	routeEvents, routeQuestions   *nl.NetlinkSocket
	policyEvents, policyQuestions *nl.NetlinkSocket // nil: a kernel without IPsec
	events                        chan []event
}

// event is one thing the kernel says has happened.
type event struct {
	kind      eventKind
	link      int32        // linkChanged
	device    device       // linkChanged: as it was then; zero when it was removed
	neighbour neighbourKey // neighbourChanged
	prefix    netip.Prefix // routeChanged
	policy    policyEvent  // policyChanged
	err       error        // ended
}

type eventKind uint8

const (
	linkChanged eventKind = iota + 1
	neighbourChanged
	routeChanged
	allChanged // an address, a rule of policy routing, a next hop that routes share
	policyChanged
	routesLost   // the kernel dropped messages about routes, links, neighbours
	policiesLost // the kernel dropped messages about policies
	ended        // the socket is broken
)

// openKernel opens the sockets. Events are subscribed to before anything is asked, so that no change falls in between.
func openKernel() (*kernel, error) {
	k := &kernel{events: make(chan []event, eventBatches)}
	if err := k.open(); err != nil {
		k.close()
		return nil, err
	}
	for _, s := range []*nl.NetlinkSocket{k.routeEvents, k.policyEvents} {
		// With a smaller buffer events are lost sooner, nothing else.
		if s != nil && s.SetReceiveBufferSize(eventBuffer, true) != nil {
			_ = s.SetReceiveBufferSize(eventBuffer, false)
		}
	}
	return k, nil
}

func (k *kernel) open() (err error) {
	k.routeEvents, err = nl.Subscribe(unix.NETLINK_ROUTE, unix.RTNLGRP_LINK, unix.RTNLGRP_NEIGH,
		unix.RTNLGRP_IPV4_IFADDR, unix.RTNLGRP_IPV4_ROUTE, unix.RTNLGRP_IPV4_RULE,
		unix.RTNLGRP_IPV6_IFADDR, unix.RTNLGRP_IPV6_ROUTE, unix.RTNLGRP_IPV6_RULE, unix.RTNLGRP_NEXTHOP)
	if err != nil {
		return fmt.Errorf("netlink: subscribe to routes: %w", err)
	}
	if k.routeQuestions, err = openQuestions(unix.NETLINK_ROUTE); err != nil {
		return fmt.Errorf("netlink: %w", err)
	}
	k.policyEvents, err = nl.Subscribe(unix.NETLINK_XFRM, xfrmGroupPolicy, xfrmGroupExpire)
	switch {
	case errors.Is(err, unix.EPROTONOSUPPORT):
		return nil // no IPsec, no policies
	case errors.Is(err, unix.EPERM):
		return errors.New("netlink: subscribe to IPsec policies: CAP_NET_ADMIN is needed")
	case err != nil:
		return fmt.Errorf("netlink: subscribe to IPsec policies: %w", err)
	}
	if k.policyQuestions, err = openQuestions(unix.NETLINK_XFRM); err != nil {
		return fmt.Errorf("netlink: IPsec: %w", err)
	}
	return nil
}

// openQuestions opens a socket for requests.
func openQuestions(protocol int) (*nl.NetlinkSocket, error) {
	s, err := nl.Subscribe(protocol) // to nothing
	if err != nil {
		return nil, err
	}
	timeout := unix.NsecToTimeval(int64(answerTime))
	if err := errors.Join(s.SetSendTimeout(&timeout), s.SetReceiveTimeout(&timeout)); err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

// closeEvents closes the sockets that events come from. A reader that waits in one of them returns.
func (k *kernel) closeEvents() {
	for _, s := range []*nl.NetlinkSocket{k.routeEvents, k.policyEvents} {
		if s != nil {
			s.Close()
		}
	}
}

// close closes all sockets. Nobody asks any more.
func (k *kernel) close() {
	k.closeEvents() // twice does no harm
	for _, s := range []*nl.NetlinkSocket{k.routeQuestions, k.policyQuestions} {
		if s != nil {
			s.Close()
		}
	}
}

// followRoutes reads the events of links, addresses, routes, rules and neighbours until done is closed.
func (k *kernel) followRoutes(done <-chan struct{}) {
	k.read(k.routeEvents, routesLost, readRouteMessage, done)
}

// followPolicies reads the events of IPsec policies until done is closed.
func (k *kernel) followPolicies(done <-chan struct{}) {
	if k.policyEvents != nil {
		k.read(k.policyEvents, policiesLost, readPolicyMessage, done)
	}
}

// read hands the resolver what comes, one datagram a batch. It waits for the resolver: then the kernel's buffer fills
// and overflows, which the kernel reports as ENOBUFS.
func (k *kernel) read(s *nl.NetlinkSocket, lost eventKind, parse func(uint16, []byte) (event, bool), done <-chan struct{}) {
	for {
		messages, from, err := s.Receive()
		var batch []event
		switch {
		case errors.Is(err, unix.ENOBUFS):
			batch = []event{{kind: lost}}
		case err != nil:
			select {
			case k.events <- []event{{kind: ended, err: err}}:
			case <-done:
			}
			return
		case from.Pid != nl.PidKernel:
			continue
		}
		for _, m := range messages {
			if e, ok := parse(m.Header.Type, m.Data); ok {
				batch = append(batch, e)
			}
		}
		if len(batch) == 0 {
			continue
		}
		select {
		case k.events <- batch:
		case <-done:
			return
		}
	}
}

// readRouteMessage makes an event of a message of the route family.
func readRouteMessage(kind uint16, b []byte) (event, bool) {
	switch kind {
	case unix.RTM_NEWLINK, unix.RTM_DELLINK:
		index, d, ok := readLink(b)
		if kind == unix.RTM_DELLINK {
			d = device{}
		}
		return event{kind: linkChanged, link: index, device: d}, ok
	case unix.RTM_NEWNEIGH, unix.RTM_DELNEIGH:
		key, _, ok := readNeighbour(b)
		return event{kind: neighbourChanged, neighbour: key}, ok
	case unix.RTM_NEWROUTE, unix.RTM_DELROUTE:
		p, ok := readRouteEvent(b)
		return event{kind: routeChanged, prefix: p}, ok
	case unix.RTM_NEWADDR, unix.RTM_DELADDR, unix.RTM_NEWRULE, unix.RTM_DELRULE, unix.RTM_NEWNEXTHOP, unix.RTM_DELNEXTHOP:
		return event{kind: allChanged}, true
	}
	return event{}, false
}

// readPolicyMessage makes an event of a message of the xfrm family.
func readPolicyMessage(kind uint16, b []byte) (event, bool) {
	e, ok := readPolicyEvent(kind, b)
	if ok && e.kind == 0 {
		return event{kind: policiesLost}, true
	}
	return event{kind: policyChanged, policy: e}, ok
}

// route implements asker: RTM_GETROUTE with the source address, as policy routing needs it, and the protocol.
func (k *kernel) route(src, dst netip.Addr) (route, error) {
	header := make([]byte, unix.SizeofRtMsg)
	header[0] = familyOf(dst)
	header[1], header[2] = byte(dst.BitLen()), byte(src.BitLen())
	header = appendAttribute(header, unix.RTA_DST, dst.AsSlice())
	header = appendAttribute(header, unix.RTA_SRC, src.AsSlice())
	header = appendAttribute(header, unix.RTA_IP_PROTO, []byte{unix.IPPROTO_UDP})
	answer, err := ask(k.routeQuestions, unix.NETLINK_ROUTE, unix.RTM_GETROUTE, 0, header)
	if err != nil {
		return route{}, err
	}
	r, ok := readRoute(answer[0])
	if !ok {
		return route{}, errUnreadable
	}
	return r, nil
}

// device implements asker: RTM_GETLINK.
func (k *kernel) device(index int32) (device, error) {
	header := make([]byte, unix.SizeofIfInfomsg)
	binary.NativeEndian.PutUint32(header[4:], uint32(index))
	answer, err := ask(k.routeQuestions, unix.NETLINK_ROUTE, unix.RTM_GETLINK, 0, header)
	if err != nil {
		return device{}, err
	}
	_, d, ok := readLink(answer[0])
	if !ok {
		return device{}, errUnreadable
	}
	return d, nil
}

// neighbour implements asker: RTM_GETNEIGH for one entry (Linux 5.0).
func (k *kernel) neighbour(key neighbourKey) (neighbourState, error) {
	header := make([]byte, unix.SizeofNdMsg)
	header[0] = familyOf(key.addr)
	binary.NativeEndian.PutUint32(header[4:], uint32(key.device))
	header = appendAttribute(header, unix.NDA_DST, key.addr.AsSlice())
	answer, err := ask(k.routeQuestions, unix.NETLINK_ROUTE, unix.RTM_GETNEIGH, 0, header)
	if err != nil {
		return neighbourState{}, err
	}
	_, s, ok := readNeighbour(answer[0])
	if !ok {
		return neighbourState{}, errUnreadable
	}
	return s, nil
}

// policies implements asker: XFRM_MSG_GETPOLICY and XFRM_MSG_GETDEFAULT. Both need CAP_NET_ADMIN.
func (k *kernel) policies() (map[uint32]policy, bool, error) {
	if k.policyQuestions == nil {
		return nil, false, nil
	}
	var list [][]byte
	var err error
	for range dumpAttempts {
		list, err = ask(k.policyQuestions, unix.NETLINK_XFRM, xfrmGetPolicy, unix.NLM_F_DUMP, make([]byte, policyIDSize))
		if !errors.Is(err, nl.ErrDumpInterrupted) {
			break
		}
	}
	if err != nil && !errors.Is(err, errNothing) {
		return nil, false, err
	}
	set := make(map[uint32]policy)
	for _, b := range list {
		index, p, direction, ok := readPolicy(b)
		if !ok {
			return nil, false, errUnreadable
		}
		if direction == xfrmDirectionOut {
			set[index] = p
		}
	}
	answer, err := ask(k.policyQuestions, unix.NETLINK_XFRM, xfrmGetDefault, 0, make([]byte, defaultsSize))
	if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.EOPNOTSUPP) {
		return set, false, nil // older than Linux 5.14: there is no default but to allow
	}
	if err != nil {
		return nil, false, err
	}
	block, ok := readDefault(answer[0])
	if !ok {
		return nil, false, errUnreadable
	}
	return set, block, nil
}

var (
	errUnreadable = errors.New("the kernel's answer is too short")
	errNothing    = errors.New("the kernel's answer is empty")
)

// ask sends one request and returns the payloads of the answer, at least one.
func ask(s *nl.NetlinkSocket, protocol int, kind, flags int, body []byte) ([][]byte, error) {
	request := nl.NewNetlinkRequest(kind, flags)
	request.Sockets = map[int]*nl.SocketHandle{protocol: {Seq: request.Seq, Socket: s}}
	request.AddRawData(body)
	answer, err := request.Execute(protocol, 0)
	if err == nil && len(answer) == 0 {
		return nil, errNothing
	}
	return answer, err
}

// appendAttribute appends an attribute, padded so that another may follow.
func appendAttribute(b []byte, kind uint16, value []byte) []byte {
	size := attributeHeader + len(value)
	b = binary.NativeEndian.AppendUint16(b, uint16(size))
	b = binary.NativeEndian.AppendUint16(b, kind)
	b = append(b, value...)
	return append(b, make([]byte, align(size)-size)...)
}

func familyOf(a netip.Addr) byte {
	if a.Is4() {
		return unix.AF_INET
	}
	return unix.AF_INET6
}
