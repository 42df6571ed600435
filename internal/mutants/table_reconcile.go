package main

var reconcile = []Mutant{}
