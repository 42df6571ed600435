package main

var replicate = []Mutant{}
