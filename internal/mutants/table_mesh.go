package main

var mesh = []Mutant{}
