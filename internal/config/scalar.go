package config

import (
	"fmt"
	"math"
	"net/netip"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// setScalar reads the text of a value into v by v's type. Without success it says what is wrong and what to do.
func setScalar(v reflect.Value, text string) (what, do string) {
	if v.Kind() == reflect.Pointer && v.Type() != reflect.TypeFor[*regexp.Regexp]() {
		elem := reflect.New(v.Type().Elem())
		what, do = setScalar(elem.Elem(), text)
		v.Set(elem)
		return what, do
	}
	switch p := v.Addr().Interface().(type) {
	case *string:
		*p = text
	case *Secret:
		*p = Secret(text)
	case *int:
		return setInt(p, text)
	case *bool:
		return setBool(p, text)
	case *time.Duration:
		return setDuration(p, text)
	case *netip.Addr:
		return setAddr(p, text)
	case *netip.AddrPort:
		return setAddrPort(p, text)
	case *netip.Prefix:
		return setPrefix(p, text)
	case *PortRange:
		return setPorts(p, text)
	case **regexp.Regexp:
		re, err := regexp.Compile(text)
		if err != nil {
			return "is no regular expression (" + strings.TrimPrefix(err.Error(), "error parsing regexp: ") + ")",
				"see https://pkg.go.dev/regexp/syntax"
		}
		*p = re
	default:
		return "cannot be read", "remove it"
	}
	return "", ""
}

// wanted is an example of each type.
func wanted(t reflect.Type) string {
	if t.Kind() == reflect.Pointer && t != reflect.TypeFor[*regexp.Regexp]() {
		t = t.Elem()
	}
	switch t {
	case reflect.TypeFor[netip.Addr]():
		return "an address such as 192.0.2.1, an IPv6 one in quotes"
	case reflect.TypeFor[netip.AddrPort]():
		return `an address with port such as 192.0.2.1:5060, or in quotes "[2001:db8::1]:5060"`
	case reflect.TypeFor[netip.Prefix]():
		return "a prefix such as 192.0.2.0/24, an IPv6 one in quotes"
	case reflect.TypeFor[PortRange]():
		return "a range such as 40000-49999"
	case reflect.TypeFor[time.Duration]():
		return "a duration such as 30s"
	case reflect.TypeFor[*regexp.Regexp]():
		return "a regular expression in quotes"
	}
	switch t.Kind() {
	case reflect.Int:
		return "a whole number"
	case reflect.Bool:
		return "true or false"
	}
	return "a text"
}

func setInt(p *int, text string) (what, do string) {
	n, err := strconv.ParseInt(text, 10, 32)
	if err != nil {
		return "is not a whole number", fmt.Sprintf("write digits only, at most %d", math.MaxInt32)
	}
	*p = int(n)
	return "", ""
}

func setBool(p *bool, text string) (what, do string) {
	switch text {
	case "true", "false":
		*p = text == "true"
		return "", ""
	case "yes", "on":
		return "is neither true nor false", "write true, or false"
	case "no", "off":
		return "is neither true nor false", "write false, or true"
	}
	return "is neither true nor false", "write one of them"
}

func setDuration(p *time.Duration, text string) (what, do string) {
	if _, err := strconv.ParseFloat(text, 64); err == nil {
		return "has no unit", fmt.Sprintf("write %ss, %sms or %sm", text, text, text)
	}
	v, err := time.ParseDuration(text)
	if err != nil {
		return "is no duration", "write a number and a unit, as 500ms, 30s, 10m or 1h30m"
	}
	*p = v
	return "", ""
}

func setAddr(p *netip.Addr, text string) (what, do string) {
	a, err := netip.ParseAddr(text)
	switch {
	case err != nil:
		return "is no IP address", "write it as 192.0.2.1 or 2001:db8::1; names are not resolved here"
	case a.Is4In6():
		return "is an IPv4 address in IPv6 clothes", "write " + a.Unmap().String()
	case a.Zone() != "":
		return "has a zone", "use an address that is valid beyond one link"
	}
	*p = a
	return "", ""
}

func setAddrPort(p *netip.AddrPort, text string) (what, do string) {
	ap, err := netip.ParseAddrPort(text)
	if err != nil {
		if a, err := netip.ParseAddr(text); err == nil {
			do := "write " + strconv.Quote(netip.AddrPortFrom(a, 5060).String())
			if meant, ok := portOutside(text); ok {
				do = fmt.Sprintf("write %q, or if the address is the whole of it %q", meant, netip.AddrPortFrom(a, 5060))
			}
			return "has no port", do
		}
		return "is no IP address with port", `write it as 192.0.2.1:5060 or "[2001:db8::1]:5060"`
	}
	var a netip.Addr
	if what, do := setAddr(&a, ap.Addr().String()); what != "" {
		return what, do
	}
	*p = ap
	return "", ""
}

// portOutside reads an IPv6 address whose port was written without brackets around the address, and so became its last group.
func portOutside(text string) (netip.AddrPort, bool) {
	i := strings.LastIndexByte(text, ':')
	if i < 0 {
		return netip.AddrPort{}, false
	}
	a, badAddr := netip.ParseAddr(text[:i])
	port, badPort := strconv.ParseUint(text[i+1:], 10, 16)
	return netip.AddrPortFrom(a, uint16(port)), badAddr == nil && badPort == nil && port >= firstPort
}

// setPrefix accepts a single address as well: the prefix that holds only it.
func setPrefix(p *netip.Prefix, text string) (what, do string) {
	if a, err := netip.ParseAddr(text); err == nil {
		if what, do := setAddr(&a, text); what != "" {
			return what, do
		}
		*p = netip.PrefixFrom(a, a.BitLen())
		return "", ""
	}
	prefix, err := netip.ParsePrefix(text)
	switch {
	case err != nil:
		return "is no prefix", "write it as 192.0.2.0/24, 2001:db8::/32 or a single address"
	case prefix.Addr().Is4In6():
		return "is an IPv4 prefix in IPv6 clothes", "write it as 192.0.2.0/24"
	case prefix != prefix.Masked():
		return "has bits beyond its length", fmt.Sprintf("write %s for the network or %s for the one address",
			prefix.Masked(), prefix.Addr())
	}
	*p = prefix
	return "", ""
}

func setPorts(p *PortRange, text string) (what, do string) {
	low, high, ok := strings.Cut(text, "-")
	a, errA := strconv.ParseUint(strings.TrimSpace(low), 10, 64)
	b, errB := strconv.ParseUint(strings.TrimSpace(high), 10, 64)
	if !ok || errA != nil || errB != nil {
		return "is no range of ports", "write it as 40000-49999"
	}
	if beyond := max(a, b); beyond > math.MaxUint16 {
		return fmt.Sprintf("goes beyond %d, the highest port there is", math.MaxUint16), fmt.Sprintf("lower %d", beyond)
	}
	*p = PortRange{Low: uint16(a), High: uint16(b)}
	return "", ""
}
