package host

import (
	"errors"
	"io/fs"
	"strconv"
)

const supplies = "sys/class/power_supply"

// power is what the supplies of a machine say together (the kernel's
// Documentation/ABI/testing/sysfs-class-power).
type power struct {
	outside, online                bool // there is a supply from outside; one is online
	batteries, draining, sustained bool // there is one; one is discharging; one is said not to
	chargeSum, chargeCount         int  // sum of percents, and how many
}

func (r *Reader) readPower(f *Figures) error {
	entries, err := fs.ReadDir(r.root, supplies)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	var p power
	var errs []error
	for _, e := range entries {
		errs = append(errs, r.readSupply(&p, supplies+"/"+e.Name()+"/"))
	}
	f.Mains = p.onMains()
	if p.chargeCount > 0 {
		f.Battery = Known(p.chargeSum / p.chargeCount)
	}
	return errors.Join(errs...)
}

// onMains weighs what was found: a supply that is online says most, then what
// the batteries do.
func (p power) onMains() Value[bool] {
	switch {
	case p.online:
		return Known(true)
	case p.draining:
		return Known(false)
	case p.sustained:
		return Known(true)
	case p.outside && p.batteries:
		return Known(false)
	}
	return Value[bool]{} // it runs, on something that is not listed
}

func (r *Reader) readSupply(p *power, dir string) error {
	var faults []error
	get := func(name string) string {
		text, err := r.readOptional(dir + name)
		faults = append(faults, err)
		return text
	}
	kind, scope := get("type"), get("scope")
	if scope == "Device" { // of a mouse, say
		return errors.Join(faults...)
	}
	switch kind {
	case "Mains", "USB", "Wireless":
		p.outside = true
		online := get("online")
		p.online = p.online || online == "1" || online == "2" // fixed, programmable
	case "Battery", "UPS":
		if get("present") == "0" {
			break
		}
		p.batteries = true
		switch get("status") {
		case "Discharging":
			p.draining = true
		case "Charging", "Full", "Not charging":
			p.sustained = true
		}
		if percent, err := strconv.Atoi(get("capacity")); err == nil && 0 <= percent && percent <= 100 {
			p.chargeSum, p.chargeCount = p.chargeSum+percent, p.chargeCount+1
		}
	}
	return errors.Join(faults...)
}
